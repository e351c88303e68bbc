"""What the pages show, read from the timeline: each chain is read once and then only what was added. Safe in threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stopgap.approvals import lapse
from stopgap.incidents import fold
from stopgap.report import standing as standings

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopgap.clock import Clock
    from stopgap.incidents.model import Incident
    from stopgap.policy.model import Policy
    from stopgap.report.standing import Standing
    from stopgap.timeline.entry import Entry
    from stopgap.timeline.store import PostgresTimeline

LISTED = 1000  # incidents, the newest
_KEPT = 50  # chains


@dataclass(slots=True)
class Library:
    """The incidents. `policy` gives what holds now, `link` where a flow run is seen in Prefect's UI."""

    timeline: PostgresTimeline
    clock: Clock
    policy: Callable[[], Policy]
    link: Callable[[str], str]
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _chains: OrderedDict[str, tuple[Entry, ...]] = field(default_factory=OrderedDict, init=False)
    _folded: dict[str, tuple[int, Incident | None]] = field(default_factory=dict, init=False)

    def standing(self, name: str) -> Standing | None:
        """Return where an incident stands now; None when there is none of this name."""
        entries = self.entries(name)
        if not entries:
            return None
        return standings.standing(
            entries, self.policy(), now=self.clock.now(), link=self.link, seen=lambda gate, side: lapse.seen(self.timeline, gate, side)
        )

    def entries(self, name: str) -> tuple[Entry, ...]:
        """Return an incident's chain; empty for what is none."""
        if not is_incident(name):
            return ()
        with self._lock:
            before = self._chains.get(name, ())
        entries = (*before, *self.timeline.of_chain(name, after=len(before)))
        with self._lock:
            if len(entries) >= len(self._chains.get(name, ())):
                self._chains[name] = entries
            self._chains.move_to_end(name)
            while len(self._chains) > _KEPT:
                self._chains.popitem(last=False)
        return entries

    def incidents(self) -> tuple[Incident, ...]:
        """Return the newest incidents, the newest first; only those that have moved are read again."""
        lengths = self.timeline.lengths(newest=LISTED)
        with self._lock:
            known = {name: self._folded[name] for name in lengths if name in self._folded}
        for name, length in lengths.items():
            if known.get(name, (0, None))[0] != length:
                known[name] = length, fold.incident(self.timeline.of_chain(name))
        with self._lock:
            self._folded = known
        return tuple(found for name in lengths if (found := known[name][1]))


def is_incident(name: str) -> bool:
    """Say whether this may be an incident's or a drill's name; no other chain has a page."""
    kind, _, number = name.partition("-")
    return kind in {"INC", "DRILL"} and number.isascii() and number.isdecimal()
