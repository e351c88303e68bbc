"""Leases: which process carries a run out. Rows beside the timeline, by the database's clock alone: no two machines' clocks are compared.

A lease is good for its length after each renewal; others may take the run when it has run out and the longest call is over as well. A row
stays when its lease is given back, so that `term` counts how often the run changed hands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import DateTime, delete, exists, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from stopgap.problems import LeaveRunError
from stopgap.timeline import tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

_COLUMNS = tables.lease.c
_NOW = func.clock_timestamp(type_=DateTime(timezone=True))  # this moment, not that at which the transaction began
_SLACK = timedelta(seconds=1)


class TakenOverError(LeaveRunError):
    """Another process carries this run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a lease is good without being renewed, and how long a call may take that was sent while it was good."""

    length: timedelta
    longest_call: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A run's lease. `holder` is the secret name of one process, empty when nobody has it; `place` says to people where that is.

    `is_free`: another may take it now.
    """

    run: str
    holder: str
    place: str
    term: int
    renewed: datetime
    is_free: bool


class Leases:
    """The leases in the timeline's database. `connected` opens a transaction; each call is one."""

    def __init__(self, connected: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connected = connected

    def take(self, run: str, holder: str, *, place: str, terms: Terms) -> tuple[Lease, Lease]:
        """Take a run's lease if it is free or ours. Returns it as it was before and as it is now: whose `holder` is another was not to be had."""
        with self._connected() as connection:
            connection.execute(upsert(tables.lease).values(_nobodys(run)).on_conflict_do_nothing())
            before = _read(connection, _COLUMNS.run == run, lock=True)[0]
            if not before.is_free and before.holder != holder:
                return before, before
            term = before.term + (before.holder != holder)
            connection.execute(
                update(tables.lease).where(_COLUMNS.run == run).values(holder=holder, place=place, term=term, **_renewed(terms))
            )
            return before, _read(connection, _COLUMNS.run == run)[0]

    def renew(self, run: str, holder: str, *, terms: Terms) -> bool:
        """Let our lease begin anew; also one that ran out, as long as nobody took it. False when somebody did."""
        with self._connected() as connection:
            ours = update(tables.lease).where(_COLUMNS.run == run, _COLUMNS.holder == holder)
            return connection.execute(ours.values(**_renewed(terms))).rowcount == 1

    def give_back(self, holder: str) -> None:
        """Free what a holder has: it says so itself, or its process is known to be dead."""
        with self._connected() as connection:
            connection.execute(update(tables.lease).where(_COLUMNS.holder == holder).values(holder="", free=_NOW))

    def of_all(self) -> dict[str, Lease]:
        """Return every lease, by run. One renewed in the future, since the database's clock was set back, begins anew by the new clock."""
        with self._connected() as connection:
            ahead = update(tables.lease).where(_COLUMNS.renewed > _NOW + _SLACK)
            connection.execute(ahead.values(free=_NOW + (_COLUMNS.free - _COLUMNS.renewed), renewed=_NOW))
            return {lease.run: lease for lease in _read(connection)}

    def prune(self) -> None:
        """Remove the rows of runs whose end is on the timeline."""
        with self._connected() as connection:
            ended = exists(select(tables.entry.c.number).where(tables.entry.c.key == literal("run.finished/") + _COLUMNS.run))
            connection.execute(delete(tables.lease).where(ended))


def require(connection: Connection, run: str, holder: str) -> None:
    """TakenOverError unless this holder has the run's lease, and keeps it until this transaction ends."""
    query = select(_COLUMNS.run).where(_COLUMNS.run == run, _COLUMNS.holder == holder).with_for_update(read=True)
    if connection.execute(query).one_or_none() is None:
        raise TakenOverError(f"Another process carries {run} out; this one stops, and wrote nothing more.")


def _nobodys(run: str) -> dict[str, Any]:
    return {"run": run, "holder": "", "place": "", "term": 0, "renewed": _NOW, "free": _NOW}


def _renewed(terms: Terms) -> dict[str, Any]:
    return {"renewed": _NOW, "free": _NOW + terms.length + terms.longest_call}


def _read(connection: Connection, *where: ColumnElement[bool], lock: bool = False) -> list[Lease]:
    is_free = ((_COLUMNS.holder == "") | (_COLUMNS.free < _NOW)).label("is_free")
    query = select(tables.lease, is_free).where(*where)
    rows = connection.execute(query.with_for_update() if lock else query)
    return [Lease(run=row.run, holder=row.holder, place=row.place, term=row.term, renewed=row.renewed, is_free=row.is_free) for row in rows]
