"""Opening incidents and asking for runs: the two entries that everything else hangs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.clock import format_duration
from stopgap.incidents import fold
from stopgap.incidents.model import LATE, IncidentId, Mode, Run
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from stopgap.policy.model import Severity
    from stopgap.runbook.model import Runbook
    from stopgap.timeline.entry import Timeline


def open_incident(  # noqa: PLR0913  each is a part of the incident, all by keyword
    timeline: Timeline,
    *,
    title: str,
    severity: Severity,
    actor: str,
    key: str,
    drill: bool = False,
    alert: str = "",
    restricted: bool = False,
) -> IncidentId:
    """Open an incident, or return the one that `key` opened before; `INC-<n>`, or `DRILL-<n>` for a drill. `alert` is the source that did."""
    already = timeline.find(f"incident.opened/{key}")
    if already:
        return IncidentId(already.incident)
    kind = "DRILL" if drill else "INC"
    name = f"{kind}-{timeline.next_number(kind)}"
    draft = Draft(
        chain=name,
        incident=name,
        kind="incident.opened",
        actor=actor,
        key=f"incident.opened/{key}",
        text=f"{'Drill' if drill else 'Incident'} opened: {title} ({severity})",
        data={
            "title": title,
            "severity": str(severity),
            **({"alert": alert} if alert else {}),
            **({"restricted": True} if restricted else {}),
        },
    )
    return IncidentId(timeline.append(draft).entry.incident)


def request_run(  # noqa: PLR0913  each is a part of what was asked for, all by keyword
    timeline: Timeline,
    *,
    incident: IncidentId,
    runbook: Runbook,
    parameters: Mapping[str, Any],
    mode: Mode,
    starter: str,
    key: str,
    given: Mapping[str, str] | None = None,
    scenario: str = "",
    alert: Mapping[str, Any] | None = None,
    proposed: str = "",
    expires: timedelta = LATE,
    within: str = "",
) -> Run:
    """Ask for a run, once: of several requests with one `key` the first wins, and everybody gets its run.

    `alert` names the entry that accepted the alert, and which of its alerts it is. `proposed` says why a person must agree before it begins.
    When nothing could begin it within `expires`, it ends without having done anything. `within` is the run one of whose steps it is.
    """
    how = {Mode.LIVE: "Run", Mode.DRY: "Dry run", Mode.DRILL: "Drill"}[mode]
    text = f"{how} of {runbook.name} asked for by {starter or 'somebody in the Prefect UI'}"
    data = {
        "runbook": runbook.name,
        "digest": runbook.digest,
        "mode": str(mode),
        "parameters": {name: "***" if runbook.parameters[name].secret else value for name, value in parameters.items()},
        "starter": starter,
        "given": dict(given or {}),
        "scenario": scenario,
        "expires": format_duration(expires),
        "key": key,
        **({"alert": dict(alert)} if alert else {}),
        **({"proposed": proposed} if proposed else {}),
        **({"within": within} if within else {}),
    }
    return _requested(timeline, incident, text=text, data=data)


def request_undo(  # noqa: PLR0913  each is a part of what was asked for, all by keyword
    timeline: Timeline, *, of: Run, step: str, starter: str, key: str, within: str = ""
) -> Run:
    """Ask for a run that takes back what an ended run did, or one `step` of it when that is not empty; once for each `key`."""
    what = f"{step} of {of.id}" if step else of.id
    data = {
        "runbook": of.runbook,
        "digest": of.digest,
        "mode": str(of.mode),
        "parameters": dict(of.parameters),
        "starter": starter,
        "key": key,
        "undoes": of.id,
        "only": step,
        **({"within": within} if within else {}),
    }
    return _requested(timeline, of.incident, text=f"Undo of {what} asked for by {starter}", data=data)


def _requested(timeline: Timeline, incident: IncidentId, *, text: str, data: Mapping[str, Any]) -> Run:
    already = timeline.find(f"run.requested/{data['key']}")
    if already is None:
        draft = Draft(
            chain=incident,
            incident=incident,
            run=f"{incident}.{timeline.next_number(f'{incident} run')}",
            kind="run.requested",
            actor=data["starter"] or "unknown",
            key=f"run.requested/{data['key']}",
            text=text,
            data=data,
        )
        already = timeline.append(draft).entry
    return fold.find_run(timeline, already.run)
