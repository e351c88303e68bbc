"""`Proofs` in PostgreSQL. One transaction a turn, which holds an advisory lock on the person's name."""

from __future__ import annotations

import contextlib
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from stopgap.timeline import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import Connection

    from stopgap.timeline.proofs import Turn

_WRONG_FOR = timedelta(days=1)  # older wrong codes slow nobody down


class PostgresProofs:
    """`Proofs` in the timeline's database. `connected` opens a transaction."""

    def __init__(self, connected: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connected = connected

    def keep(self, enrolment: str, sealed: bytes) -> None:
        """Keep the sealed secret of an enrolment."""
        with self._connected() as connection:
            connection.execute(insert(tables.responder).values(enrolment=enrolment, sealed=sealed))

    def sealed(self, enrolment: str) -> bytes | None:
        """Return the sealed secret of an enrolment; None when it was forgotten."""
        row = tables.responder.c
        with self._connected() as connection:
            found: bytes | None = connection.scalar(select(row.sealed).where(row.enrolment == enrolment))
        return found

    def forget(self, enrolment: str) -> None:
        """Remove the secret of an enrolment."""
        with self._connected() as connection:
            connection.execute(delete(tables.responder).where(tables.responder.c.enrolment == enrolment))

    @contextlib.contextmanager
    def turn(self, person: str) -> Iterator[Turn]:
        """Check a code of this person, one at a time over all processes."""
        with self._connected() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:person, 7021819))"), {"person": person})
            yield _Turn(connection, person)


class _Turn:
    """`Turn` in one transaction."""

    def __init__(self, connection: Connection, person: str) -> None:
        self._connection = connection
        self._person = person

    def was_used_for(self, attempt: str) -> bool:
        """Whether a code was used up for this very attempt."""
        return bool(self._connection.scalar(select(exists().where(tables.used_code.c.attempt == attempt))))

    def use(self, enrolment: str, counter: int, *, attempt: str, at: datetime) -> bool:
        """Use a code up; False when it was used before."""
        row = upsert(tables.used_code).values(enrolment=enrolment, counter=counter, attempt=attempt, at=at)
        return self._connection.scalar(row.on_conflict_do_nothing().returning(tables.used_code.c.counter)) is not None

    def wrong(self, channel: str, *, since: datetime) -> tuple[datetime, ...]:
        """Return when wrong codes came by this channel, oldest first."""
        row = tables.wrong_code.c
        query = select(row.at).where(row.person == self._person, row.channel == channel, row.at > since).order_by(row.at)
        return tuple(at.astimezone(UTC) for at in self._connection.scalars(query))

    def note_wrong(self, channel: str, *, attempt: str, at: datetime) -> None:
        """Count an attempt as wrong, and forget the old ones."""
        row = tables.wrong_code
        self._connection.execute(delete(row).where(row.c.person == self._person, row.c.at < at - _WRONG_FOR))
        new = upsert(row).values(attempt=attempt, person=self._person, channel=channel, at=at)
        self._connection.execute(new.on_conflict_do_nothing())
