"""The storm brake: when too many incidents begin at once, alerts start nothing by themselves until a person says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stopgap.clock import format_duration
from stopgap.incidents.model import IncidentId
from stopgap.incidents.open import open_incident
from stopgap.policy.model import Severity
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from datetime import datetime

    from stopgap.policy.alerting import StormRules
    from stopgap.timeline.entry import Entry, Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """A storm that lasts: its number, and the incident that lists what began in it."""

    number: int
    incident: IncidentId
    began_at: datetime


def current(timeline: Timeline) -> Storm | None:
    """Return the storm that lasts, None when there is none."""
    found: Storm | None = None
    for entry in timeline.of_kind("storm.began", "storm.released"):
        found = _storm(entry) if entry.kind == "storm.began" else None
    return found


def look(timeline: Timeline, rules: StormRules, *, now: datetime) -> Storm | None:
    """Return the storm that lasts, or the one that begins with one more incident. Call it for one alert at a time over all processes."""
    lasting = current(timeline)
    if lasting:
        return lasting
    released = timeline.of_kind("storm.released", since=now - rules.window)
    since = max([now - rules.window, *(entry.at for entry in released)])
    begun = [entry for entry in timeline.of_kind("incident.opened", since=since) if entry.data.get("alert")]
    return _begin(timeline, rules) if len(begun) >= rules.incidents else None


def release(timeline: Timeline, storm: Storm, *, person: str, reason: str) -> Entry:
    """Let alerts start runbooks again."""
    text = f"{person} released the storm: alerts start runbooks again{f' ({reason})' if reason else ''}"
    draft = Draft(
        chain=storm.incident, incident=storm.incident, kind="storm.released", actor=person, text=text,
        key=f"storm.released/{storm.number}", data={"storm": storm.number, "reason": reason},
    )  # fmt: skip
    return timeline.append(draft).entry


def _begin(timeline: Timeline, rules: StormRules) -> Storm:
    number = len(timeline.of_kind("storm.began")) + 1
    title = f"Alert storm: more than {rules.incidents} incidents within {format_duration(rules.window)}"
    incident = open_incident(timeline, title=title, severity=Severity.SEV1, actor="stopgap", key=f"storm/{number}")
    text = (
        f"{title}. Alerts start nothing by themselves any more; what fires is listed here.\n"
        "Look at it, and when it is over:  stopgap storm release"
    )
    draft = Draft(
        chain=incident, incident=incident, kind="storm.began", actor="stopgap", text=text,
        key=f"storm.began/{number}", data={"storm": number, "incidents": rules.incidents, "window": format_duration(rules.window)},
    )  # fmt: skip
    return _storm(timeline.append(draft).entry)


def _storm(entry: Entry) -> Storm:
    return Storm(number=entry.data["storm"], incident=IncidentId(entry.incident), began_at=entry.at)
