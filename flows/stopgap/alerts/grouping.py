"""Related alerts in one incident: those with the same labels that policy names, one not long after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.clock import format_duration
from stopgap.incidents import fold

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from stopgap.incidents.model import IncidentId
    from stopgap.policy.alerting import GroupRules
    from stopgap.timeline.entry import Timeline


def find(timeline: Timeline, rules: GroupRules | None, labels: Mapping[str, str], *, now: datetime) -> IncidentId | None:
    """Return the open incident of a related alert that began within the window; the newest of several.

    An alert that lacks one of the labels is related to none. The window counts from the last alert that joined, so that trouble that spreads
    stays together.
    """
    if rules is None or any(not labels.get(name) for name in rules.by):
        return None
    for entry in reversed(timeline.of_kind("alert.opened", since=now - rules.window)):
        theirs = entry.data.get("labels", {})
        if all(theirs.get(name) == labels[name] for name in rules.by):
            chain = timeline.of_chain(entry.incident)
            incident = fold.incident(chain)
            if incident and incident.resolved_at is None and not any(each.kind == "storm.began" for each in chain):
                return incident.id
    return None


def held(timeline: Timeline, rules: GroupRules | None, incident: IncidentId, runbook: str, *, now: datetime) -> str:
    """Say why a related alert's run is not started as well: the same runbook is at work on the incident, or just was. Empty when it is not."""
    if rules is None:
        return ""
    names = dict.fromkeys(entry.run for entry in timeline.of_chain(incident) if entry.kind == "run.requested")
    same = [run for run in (fold.find_run(timeline, name) for name in names) if run.runbook == runbook and run.starter == "stopgap"]
    going = next((run for run in same if run.end is None), None)
    if going:
        return f"{going.id} is still going on for a related alert"
    late = next((run for run in same if now - run.requested_at <= rules.window), None)
    return f"{late.id} was started for a related alert less than {format_duration(rules.window)} ago" if late else ""
