"""What a process that carries a run out has read already: entries never change, so it asks only for those that are new.

A step looks at its run some twenty times. An append holds its chain's head until it has committed, so the entries of a chain become visible in the
order of their numbers, and nothing can turn up behind the last one read. What was read a moment ago is not asked for again: whoever acts on what it read
must bear that others have written since, and each act has one winner by its key and by the lease. What this process wrote itself it always sees.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, select

from stopgap.timeline import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stopgap.timeline.entry import Entry

FRESH = 0.05  # seconds


class Memory:
    """The chains that were asked for, as far as they were read. Safe in threads. `read` asks the database."""

    def __init__(self, read: Callable[[Select[Any]], tuple[Entry, ...]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._chains: dict[str, tuple[Entry, ...]] = {}
        self._read_at: dict[str, float] = {}
        self._homes: dict[str, str] = {}  # the chain in which a run's entries are

    def wrote(self, entries: Iterable[Entry]) -> None:
        """Note what this process has just appended; where somebody else's entries lie before it, the chain is read again."""
        with self._lock:
            for entry in entries:
                known = self._chains.get(entry.chain)
                if known and known[-1].number + 1 == entry.number:
                    self._chains[entry.chain] = (*known, entry)
                else:
                    self._read_at.pop(entry.chain, None)

    def lost(self, chains: Iterable[str]) -> None:
        """Note that somebody else had written to these first: they are read again."""
        with self._lock:
            for chain in chains:
                self._read_at.pop(chain, None)

    def of_chain(self, name: str, *, after: int = 0) -> tuple[Entry, ...]:
        """Return a chain's entries in order, those numbered above `after`."""
        with self._lock:
            found = self._chains.get(name, ())
            if name not in self._read_at or time.monotonic() - self._read_at[name] > FRESH:
                asked = time.monotonic()
                found = self._chains[name] = found + self._read(of_chain(name, after=found[-1].number if found else 0))
                self._read_at[name] = asked
        return tuple(entry for entry in found if entry.number > after) if after else found

    def of_run(self, run: str) -> tuple[Entry, ...]:
        """Return a run's entries in order."""
        home = self._homes.get(run)
        if home is None:
            found = self._read(of_run(run))
            if found:
                self._homes[run] = found[0].chain
            return found
        return tuple(entry for entry in self.of_chain(home) if entry.run == run)


def of_chain(name: str, *, after: int) -> Select[Any]:
    """Return the query for a chain's entries numbered above `after`."""
    entry = tables.entry.c
    return select(tables.entry).where(entry.chain == name, entry.number > after).order_by(entry.number)


def of_run(run: str) -> Select[Any]:
    """Return the query for a run's entries."""
    entry = tables.entry.c
    return select(tables.entry).where(entry.run == run, entry.run != "").order_by(entry.at, entry.chain, entry.number)
