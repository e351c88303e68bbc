"""What people do to an incident as a whole: take notice, note, grade, and end it. Each is one entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.incidents import fold, paging, roles
from stopgap.incidents.model import Incident, Stage
from stopgap.policy.model import Policy
from stopgap.problems import UsageError
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from stopgap.policy.model import Severity
    from stopgap.timeline.entry import Entry, Timeline

BY_HAND = (Stage.INVESTIGATING, Stage.MITIGATING, Stage.REVIEWED)


class StillFiringError(UsageError):
    """An alert of the incident still fires."""


def acknowledge(timeline: Timeline, incident: Incident, *, person: str, policy: Policy | None = None, channel: str = "terminal") -> Entry:
    """Take notice of an incident; the first who does is its acknowledgement. Also ends every page that waits for this person, or for anybody."""
    text = f"{person} looks after {incident.id}"
    key = f"incident.acknowledged/{incident.id}/{person}{f'/{incident.reopened}' if incident.reopened else ''}"
    mine = Draft(chain=incident.id, incident=incident.id, kind="incident.acknowledged", actor=person, text=text, key=key, data={})
    entries, policy = timeline.of_chain(incident.id), policy or Policy()
    held = roles.fold(entries)
    pages = [page for page in paging.fold(entries) if page.acknowledged_at is None and paging.concerns(page, policy, held, person)]
    ended = [paging.acknowledged(incident, page, person=person, channel=channel) for page in pages]
    return timeline.append_all([mine, *ended])[0].entry


def restrict(timeline: Timeline, incident: Incident, *, person: str, restricted: bool, reason: str) -> Entry:
    """Let only the roles that policy names read of an incident and be told of it, or everybody again."""
    what = f"restricted {incident.id}" if restricted else f"opened {incident.id} to everybody"
    text = f"{person} {what}{f': {reason}' if reason else ''}"
    return _append(timeline, incident, "incident.restricted", text, person=person, restricted=restricted, reason=reason)


def note(timeline: Timeline, incident: Incident, *, person: str, text: str) -> Entry:
    """Write something down."""
    return _append(timeline, incident, "note", text, person=person)


def grade(timeline: Timeline, incident: Incident, *, person: str, severity: Severity, reason: str) -> Entry:
    """Set the severity."""
    text = f"{person} set {incident.id} to {severity}, before {incident.severity}{f': {reason}' if reason else ''}"
    return _append(timeline, incident, "incident.severity", text, person=person, severity=str(severity), reason=reason)


def move(timeline: Timeline, incident: Incident, *, person: str, stage: Stage, reason: str) -> Entry:
    """Say how far the incident is."""
    text = f"{person} says that {incident.id} is {stage}{f': {reason}' if reason else ''}"
    if stage is Stage.MITIGATED:
        return _append(timeline, incident, "incident.mitigated", text, person=person, reason=reason)
    return _append(timeline, incident, "incident.status", text, person=person, stage=str(stage), reason=reason)


def resolve(timeline: Timeline, incident: Incident, *, person: str, reason: str, sure: bool) -> Entry:
    """End an incident; StillFiringError when an alert of it fires and nobody said that this is known."""
    running = [run for run in _runs(timeline, incident) if run.end is None]
    if running:
        names = ", ".join(run.id for run in running)
        raise UsageError(f"{incident.id} has a run that goes on: {names}. Wait for it, or end it first:  stopgap abort {running[0].id}")
    if incident.firing and not sure:
        names = ", ".join(sorted(f"{alert} ({source})" for source, alert in incident.firing))
        raise StillFiringError(
            f"Alerts of {incident.id} still fire: {names}.\nIf that is known:  stopgap incident resolve {incident.id} --anyway"
        )
    text = f"{person} resolved {incident.id}{f': {reason}' if reason else ''}"
    return _append(timeline, incident, "incident.resolved", text, person=person, reason=reason)


def _runs(timeline: Timeline, incident: Incident) -> list[Any]:
    names = dict.fromkeys(entry.run for entry in timeline.of_chain(incident.id) if entry.kind == "run.requested")
    return [fold.find_run(timeline, name) for name in names]


def _append(timeline: Timeline, incident: Incident, kind: str, text: str, *, person: str, key: str = "", **data: Any) -> Entry:  # noqa: PLR0913  an entry's parts
    draft = Draft(chain=incident.id, incident=incident.id, kind=kind, actor=person, text=text, key=key, data=data)
    return timeline.append(draft).entry
