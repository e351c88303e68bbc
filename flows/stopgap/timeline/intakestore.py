"""`Intake` in PostgreSQL. A turn is one transaction that holds the row of its chain and an advisory lock for each alert it is about."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from stopgap.timeline import chain, rows, tables
from stopgap.timeline.intake import Episode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from sqlalchemy import Connection, Row

    from stopgap.timeline.entry import Entry
    from stopgap.timeline.intake import Name, Turn

_ONE_AT_A_TIME = 7_021_821  # an advisory lock of ours
_IN_ORDER = text(  # always in one order, so that no two turns wait for each other
    "SELECT pg_advisory_xact_lock(lock) FROM (SELECT DISTINCT hashtextextended(name, 7021820) AS lock FROM unnest(CAST(:names AS text[])) AS name ORDER BY lock) AS locks"
)


class PostgresIntake:
    """`Intake` in the timeline's database. `connected` opens a transaction."""

    def __init__(self, connected: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connected = connected

    @contextlib.contextmanager
    def turn(self, chain: str, *, at_most: int = 200) -> Iterator[Turn]:
        """Act on the accepted deliveries of a receiver's chain, so many at most."""
        row, entry = tables.intake.c, tables.entry.c
        with self._connected() as connection:
            connection.execute(upsert(tables.intake).values(chain=chain, number=0).on_conflict_do_nothing())
            done = connection.execute(select(row.number).where(row.chain == chain).with_for_update()).scalar_one()
            query = select(tables.entry).where(entry.chain == chain, entry.number > done).order_by(entry.number).limit(at_most)
            entries = tuple(map(rows.entry_of, connection.execute(query)))
            yield _Turn(connection, entries)
            if entries:
                connection.execute(update(tables.intake).where(row.chain == chain).values(number=entries[-1].number))

    def behind(self, *, by: timedelta, now: datetime) -> tuple[str, ...]:
        """Return the receivers' chains with something accepted that long ago and not yet acted on."""
        head, entry, done = tables.head, tables.entry, func.coalesce(tables.intake.c.number, 0)
        query = (
            select(head.c.chain)
            .outerjoin(tables.intake, tables.intake.c.chain == head.c.chain)
            .join(entry, (entry.c.chain == head.c.chain) & (entry.c.number == done + 1))
            .where(head.c.chain.startswith(chain.RECEIVERS, autoescape=True), head.c.number > done, entry.c.at <= now - by)
            .order_by(entry.c.at)
        )
        with self._connected() as connection:
            return tuple(connection.scalars(query))

    def episodes_of(self, incident: str) -> tuple[Episode, ...]:
        """Return the alerts whose newest episode belongs to an incident, oldest first."""
        row = tables.episode.c
        query = select(tables.episode).where(row.incident == incident).order_by(row.opened_at, row.alert)
        with self._connected() as connection:
            return tuple(map(_episode_of, connection.execute(query)))


class _Turn:
    """`Turn` in one transaction."""

    def __init__(self, connection: Connection, entries: tuple[Entry, ...]) -> None:
        self._connection = connection
        self.entries = entries

    def episodes(self, names: Collection[Name]) -> Mapping[Name, Episode]:
        """Return the newest episodes of these alerts, which nobody else touches until the turn ends."""
        if not names:
            return {}
        self._connection.execute(_IN_ORDER, {"names": [f"{source}/{alert}" for source, alert in names]})
        row = tables.episode.c
        found = self._connection.execute(select(tables.episode).where(tuple_(row.source, row.alert).in_(list(names))))
        return {episode.name: episode for episode in map(_episode_of, found)}

    def keep(self, episodes: Collection[Episode]) -> None:
        """Write episodes."""
        if episodes:
            write = upsert(tables.episode)
            write = write.on_conflict_do_update(
                index_elements=["source", "alert"], set_={name: write.excluded[name] for name in _NAMES if name not in {"source", "alert"}}
            )
            self._connection.execute(write, [{name: getattr(episode, name) for name in _NAMES} for episode in episodes])

    def one_at_a_time(self) -> None:
        """Wait until no other turn has asked for this, and keep others waiting until this one ends."""
        self._connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ONE_AT_A_TIME})


_NAMES = tuple(field.name for field in fields(Episode))


def _episode_of(row: Row[Any]) -> Episode:
    found = {name: _utc(value) for name, value in row._mapping.items()}  # noqa: SLF001  SQLAlchemy's public name for it
    return Episode(**found)


def _utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
