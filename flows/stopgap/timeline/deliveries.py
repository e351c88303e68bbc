"""Whose turn it is to send a notice: a lease and a back-off for each target, by the database's clock. What was sent is on the timeline."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert as upsert

from stopgap.timeline import tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

LEASE = timedelta(seconds=60)  # longer than sending may take: nobody else sends the same meanwhile
_FORGOTTEN = timedelta(days=2)


class Deliveries:
    """The rows. `connected` opens a transaction."""

    def __init__(self, connected: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connected = connected

    def claim(self, notice: str, target: str) -> int | None:
        """Take the next attempt, and return which it is, from 1; None while another has it or it is not due."""
        row = tables.delivery
        until = func.now() + LEASE
        new = upsert(row).values(notice=notice, target=target, attempts=1, due=until)
        taken = new.on_conflict_do_update(
            index_elements=[row.c.notice, row.c.target], set_={"attempts": row.c.attempts + 1, "due": until}, where=row.c.due <= func.now()
        ).returning(row.c.attempts)
        with self._connected() as connection:
            found: int | None = connection.scalar(taken)
        return found

    def put_off(self, notice: str, target: str, pause: timedelta) -> None:
        """Let it be tried again after a pause."""
        row = tables.delivery
        with self._connected() as connection:
            connection.execute(update(row).where(row.c.notice == notice, row.c.target == target).values(due=func.now() + pause))

    def end(self, notice: str, target: str) -> None:
        """It was sent or given up: forget it, and what others left behind long ago."""
        row = tables.delivery
        with self._connected() as connection:
            connection.execute(delete(row).where(row.c.notice == notice, row.c.target == target))
            connection.execute(delete(row).where(row.c.due < func.now() - _FORGOTTEN))
