"""Wait for new entries of a chain: NOTIFY wakes the waiter, and a poll finds what a lost notification would have told."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from sqlalchemy import Engine

    from stopgap.timeline.entry import Entry, Timeline

CHANNEL = "stopgap_timeline"
POLL = 1.0  # seconds


def follow(timeline: Timeline, engine: Engine, chain: str, *, after: int = 0, timeout: timedelta | None = None) -> Iterator[Entry]:
    """Yield a chain's entries as they come, until none has come for `timeout`."""
    with contextlib.closing(_Ear(engine)) as ear:
        ear.listen()
        yield from entries(lambda number: timeline.of_chain(chain, after=number), ear.wait, after=after, timeout=timeout)


def entries(
    read: Callable[[int], tuple[Entry, ...]], wait: Callable[[float], None], *, after: int, timeout: timedelta | None
) -> Iterator[Entry]:
    """Read, yield and wait in turn; `wait` returns after so many seconds at the latest, or when there may be something new."""
    quiet_since = time.monotonic()
    while True:
        for entry in read(after):
            yield entry
            after = entry.number
            quiet_since = time.monotonic()
        left = POLL if timeout is None else timeout.total_seconds() - (time.monotonic() - quiet_since)
        if left <= 0:
            return
        wait(min(POLL, left))


class _Ear:
    """A connection that listens. While it is lost, waiting is sleeping."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: psycopg.Connection[object] | None = None

    def listen(self) -> None:
        """Connect anew, outside the pool."""
        self.close()
        with contextlib.suppress(psycopg.OperationalError):
            arguments, options = self._engine.dialect.create_connect_args(self._engine.url)
            self._connection = psycopg.connect(*arguments, **options, autocommit=True)
            self._connection.execute(f"LISTEN {CHANNEL}")

    def wait(self, seconds: float) -> None:
        """Wait for a notification, so many seconds at most."""
        if self._connection is None:
            time.sleep(seconds)
            self.listen()
            return
        try:
            for _notification in self._connection.notifies(timeout=seconds, stop_after=1):
                pass
        except psycopg.OperationalError:
            self.listen()

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
