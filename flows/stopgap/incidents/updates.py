"""What people outside the response were told of an incident, and when they are to hear the next: folds over its chain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopgap.incidents.model import Incident
    from stopgap.policy.incidents import IncidentRules
    from stopgap.timeline.entry import Entry

Audience = Literal["internal", "public"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """An update that was sent. `eta` is when the trouble is expected to be over; None when nobody said so."""

    at: datetime
    by: str
    text: str
    audience: Audience
    eta: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The next update: counted from the last one or from when the incident was opened. `reminder` is how many times it is overdue by now."""

    at: datetime
    every: timedelta
    number: int  # of the update that is due, from 1
    reminder: int


def sent(entries: Iterable[Entry]) -> tuple[Update, ...]:
    """Return the updates of an incident, the first first."""
    return tuple(_update(entry) for entry in entries if entry.kind == "update.sent" and "audience" in entry.data)


def due(incident: Incident, so_far: tuple[Update, ...], rules: IncidentRules, *, now: datetime) -> Due | None:
    """Return when the next update is due; None for an incident that is over, a drill, or a severity for which policy names no time."""
    every = rules.updates.get(incident.severity)
    if every is None or incident.resolved_at is not None or incident.is_drill:
        return None
    since = so_far[-1].at if so_far else incident.opened_at
    return Due(at=since + every, every=every, number=len(so_far) + 1, reminder=max((now - since) // every, 0))


def _update(entry: Entry) -> Update:
    data = entry.data
    return Update(
        at=entry.at,
        by=entry.actor,
        text=data["text"],
        audience=data["audience"],
        eta=datetime.fromisoformat(data["eta"]) if data.get("eta") else None,
    )
