"""`Locks` in PostgreSQL. Every change holds one advisory lock of ours: locking is rare, and one at a time is easy to be sure of."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, insert, literal, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from stopgap.timeline import locks, tables
from stopgap.timeline.locks import Lock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import ColumnElement, Connection

    from stopgap.clock import Clock

_ALL_LOCKS = 7_021_818  # an advisory lock of ours
_COUNTING = 7_021_819  # and another
_COLUMNS = tables.lock.c


class PostgresLocks:
    """`Locks` in the timeline's database. `connected` opens a transaction."""

    def __init__(self, connected: Callable[[], AbstractContextManager[Connection]], clock: Clock) -> None:
        self._connected = connected
        self._clock = clock
        self._counting = threading.Lock()

    def take(self, run: str, targets: Collection[str]) -> tuple[Lock, ...]:
        """Take all of these targets or none. Returns what stands in the way, empty when they are ours."""
        with self._connected() as connection:
            if self._holds(connection, run, targets):
                return ()
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ALL_LOCKS})
            connection.execute(delete(tables.lock).where(_has_ended()))
            blocked = locks.in_the_way(_read(connection), run, targets)
            if blocked:
                self._wait(connection, run, targets)
            else:
                self._hold(connection, run, targets)
        return blocked

    def forget(self, run: str) -> None:
        """The run waits for nothing any more; what it holds stays."""
        with self._connected() as connection:
            connection.execute(delete(tables.lock).where(_COLUMNS.run == run, ~_COLUMNS.is_held))

    def release(self, run: str, targets: Collection[str]) -> None:
        """Give back what this run holds of these targets; harmless for what it does not hold."""
        with self._connected() as connection:
            connection.execute(delete(tables.lock).where(_COLUMNS.run == run, _COLUMNS.target.in_(targets), _COLUMNS.is_held))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the only one who counts what begins: first of this process, so that those who wait hold one connection, then of all."""
        with self._counting, self._connected() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _COUNTING})
            yield

    def of_all(self) -> tuple[Lock, ...]:
        """Return every lock and every wait, by target, the holder first."""
        with self._connected() as connection:
            return locks.ordered(_read(connection))

    @staticmethod
    def _holds(connection: Connection, run: str, targets: Collection[str]) -> bool:
        query = select(_COLUMNS.target).where(_COLUMNS.run == run, _COLUMNS.target.in_(targets), _COLUMNS.is_held)
        return set(connection.scalars(query)) == set(targets)

    def _hold(self, connection: Connection, run: str, targets: Collection[str]) -> None:
        connection.execute(delete(tables.lock).where(_COLUMNS.run == run, ~_COLUMNS.is_held))
        query = upsert(tables.lock).on_conflict_do_nothing()
        for target in sorted(targets):
            connection.execute(query, {"target": target, "run": run, "is_held": True, "since": self._clock.now()})

    def _wait(self, connection: Connection, run: str, targets: Collection[str]) -> None:
        known = set(connection.scalars(select(_COLUMNS.target).where(_COLUMNS.run == run)))
        for target in sorted(set(targets) - known):
            connection.execute(insert(tables.lock), {"target": target, "run": run, "is_held": False, "since": self._clock.now()})


def _has_ended() -> ColumnElement[bool]:
    """The run's end is on the timeline, so whatever it held is free: no crash between the two can lock a target for ever."""
    return exists(select(tables.entry.c.number).where(tables.entry.c.key == literal("run.finished/") + _COLUMNS.run))


def _read(connection: Connection) -> tuple[Lock, ...]:
    rows = connection.execute(select(tables.lock).where(~_has_ended()))
    return tuple(Lock(target=row.target, run=row.run, since=row.since, is_held=row.is_held) for row in rows)
