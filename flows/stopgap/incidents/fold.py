"""Entries -> Incident, entries -> Run."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from stopgap.clock import parse_duration
from stopgap.incidents.model import LATE, Incident, IncidentId, Mode, Run, RunEnd, RunId, Stage, StepRecord
from stopgap.policy.model import Severity
from stopgap.problems import UsageError
from stopgap.runbook.model import Status, StepId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stopgap.timeline.entry import Entry, Timeline


class UnknownIncidentError(UsageError):
    """There is no such incident."""


class UnknownRunError(UsageError):
    """There is no such run."""


def incident(entries: Iterable[Entry]) -> Incident | None:
    """Fold a chain's entries; None when it holds no opened incident."""
    found: Incident | None = None
    for entry in entries:
        if entry.kind == "incident.opened":
            found = Incident(
                id=IncidentId(entry.incident),
                title=entry.data["title"],
                severity=Severity(entry.data["severity"]),
                opened_at=entry.at,
                opened_by=entry.actor,
                restricted=entry.data.get("restricted", False),
            )
        elif found and entry.kind in _INCIDENT:
            found = _INCIDENT[entry.kind](found, entry)
    return found


def run(entries: Iterable[Entry], *, onto: Run | None = None) -> Run | None:
    """Fold a run's entries, `onto` what those before them made; None when nobody asked for that run."""
    folded = onto
    for entry in entries:
        if entry.kind in _BEGINS:
            folded = _BEGINS[entry.kind](entry)
        elif folded and entry.kind in _RUN:
            folded = _RUN[entry.kind](folded, entry)
        elif folded and entry.kind in _STEP:
            step = folded.steps.get(StepId(entry.step), StepRecord(id=StepId(entry.step)))
            folded = replace(folded, steps={**folded.steps, step.id: _STEP[entry.kind](step, entry)})
    return folded


class Folded:
    """A run as far as its entries were folded: a step looks at its run some twenty times, and each entry is folded once. Safe in threads."""

    def __init__(self) -> None:
        self._so_far: tuple[tuple[Entry, ...], Run | None] = ((), None)

    def __call__(self, entries: tuple[Entry, ...]) -> Run | None:
        """Fold all the entries of the run."""
        before, folded = self._so_far
        known = len(before)
        folded = run(entries[known:], onto=folded) if entries[:known] == before else run(entries)
        self._so_far = (entries, folded)
        return folded


def find_run(timeline: Timeline, name: str) -> Run:
    """Return the run called `name` (`INC-12.1`), or the only run of an incident called `name` (`INC-12`); one within another does not count."""
    found = run(timeline.of_run(name))
    if found:
        return found
    runs = sorted({entry.run for entry in timeline.of_chain(name) if entry.kind == "run.requested" and not entry.data.get("within")})
    if len(runs) == 1:
        return find_run(timeline, runs[0])
    if runs:
        raise UnknownRunError(f"{name} has {len(runs)} runs: {', '.join(runs)}. Say which one.")
    newest = [each.run for each in timeline.of_kind("run.requested")][-5:]
    known = f"The newest are {', '.join(reversed(newest))}." if newest else "Nothing has been run yet:  stopgap run RUNBOOK"
    raise UnknownRunError(f'There is no run "{name}". {known}')


def find_incident(timeline: Timeline, name: str) -> Incident:
    """Return the incident called `name`."""
    found = incident(timeline.of_chain(name))
    if found is None:
        raise UnknownIncidentError(f'There is no incident "{name}". The newest are {", ".join(timeline.chains(limit=5)) or "none yet"}.')
    return found


def _graver(found: Incident, entry: Entry) -> Incident:
    return replace(found, severity=Severity(entry.data["severity"]))


def _acknowledged(found: Incident, entry: Entry) -> Incident:
    if found.acknowledged_at:
        return found
    stage = Stage.ACKNOWLEDGED if found.stage is Stage.DETECTED else found.stage
    return replace(found, stage=stage, acknowledged_at=entry.at, acknowledged_by=entry.actor)


def _staged(found: Incident, entry: Entry) -> Incident:
    return replace(found, stage=Stage(entry.data["stage"]))


def _mitigating(found: Incident, entry: Entry) -> Incident:
    return replace(found, stage=Stage.MITIGATING) if found.stage in _BEFORE_MITIGATION and entry.run else found


def _mitigated(found: Incident, entry: Entry) -> Incident:
    return replace(found, stage=Stage.MITIGATED, mitigated_at=entry.at)


def _resolved(found: Incident, entry: Entry) -> Incident:
    return replace(found, stage=Stage.RESOLVED, resolved_at=entry.at)


def _fires(found: Incident, entry: Entry) -> Incident:
    """What was mitigated or resolved is not, when an alert of it fires again; after it was resolved, nobody looks after it any more."""
    firing = found.firing | {(entry.data["source"], entry.data["alert"])}
    if entry.data.get("started") and found.began_at is None:
        found = replace(found, began_at=datetime.fromisoformat(entry.data["started"]))
    if found.stage not in {Stage.MITIGATED, Stage.RESOLVED}:
        return replace(found, firing=firing)
    if found.stage is Stage.RESOLVED:
        found = replace(found, acknowledged_at=None, acknowledged_by="", reopened=found.reopened + 1, reopened_at=entry.at)
    return replace(found, firing=firing, stage=Stage.DETECTED, mitigated_at=None, resolved_at=None)


def _over(found: Incident, entry: Entry) -> Incident:
    return replace(found, firing=found.firing - {(entry.data["source"], entry.data["alert"])})


def _restricted(found: Incident, entry: Entry) -> Incident:
    return replace(found, restricted=entry.data["restricted"])


def _requested(entry: Entry) -> Run:
    data = entry.data
    return Run(
        id=RunId(entry.run),
        incident=IncidentId(entry.incident),
        runbook=data["runbook"],
        digest=data["digest"],
        mode=Mode(data["mode"]),
        parameters=data["parameters"],
        starter=data["starter"],
        requested_at=entry.at,
        expires=parse_duration(data["expires"]) if data.get("expires") else LATE,
        key=data["key"],
        given=data.get("given", {}),
        scenario=data.get("scenario", ""),
        undoes=RunId(data.get("undoes", "")),
        within=RunId(data.get("within", "")),
        only=data.get("only", ""),
        alert=data.get("alert"),
        proposed=data.get("proposed", ""),
    )


def _drafted(entry: Entry) -> Run:
    """An update for the public asks like a run, and is carried out by nobody."""
    return Run(
        id=RunId(entry.run),
        incident=IncidentId(entry.incident),
        runbook="",
        digest="",
        mode=Mode.LIVE,
        parameters=entry.data,
        starter=entry.actor,
        requested_at=entry.at,
        key=entry.key,
    )


def _scheduled(run: Run, entry: Entry) -> Run:
    return replace(run, flow_run=entry.data["flow_run"])


def _abort_asked(run: Run, entry: Entry) -> Run:
    return replace(run, aborted_by=entry.actor)


def _locked(run: Run, entry: Entry) -> Run:
    return replace(run, locks=run.locks | set(entry.data["targets"]))


def _unlocked(run: Run, entry: Entry) -> Run:
    return replace(run, locks=run.locks - set(entry.data["targets"]))


def _run_finished(run: Run, entry: Entry) -> Run:
    return replace(run, end=RunEnd(entry.data["end"]), ended_at=entry.at)


def _started(step: StepRecord, entry: Entry) -> StepRecord:
    data = entry.data
    # A request that was taken for lost may arrive after all: the next attempt then finds nothing to change, and the undo needs the first.
    is_first = step.change is None or step.change["now"] == step.change["after"]
    return replace(
        step,
        attempt=data["attempt"],
        to_undo=data["change"] if is_first else step.to_undo,
        change=data["change"],
        uses=data["uses"],
        is_started=True,
        started_at=entry.at,
        applied="",
    )


def _applied(step: StepRecord, entry: Entry) -> StepRecord:
    return replace(step, applied=entry.text, output=entry.data.get("output", {}))


def _retried(step: StepRecord, entry: Entry) -> StepRecord:
    return replace(step, is_started=False, excused=step.excused + bool(entry.data["excused"]))


def _finished(step: StepRecord, entry: Entry) -> StepRecord:
    data = entry.data
    entries = tuple(data["entries"]) if "entries" in data else step.entries
    status, output = Status(data["status"]), data.get("output", step.output)
    return replace(step, status=status, text=entry.text, output=output, ends=data.get("ends", ""), entries=entries)


def _delegated(step: StepRecord, entry: Entry) -> StepRecord:
    return replace(step, run=RunId(entry.data["run"]))


def _listed(step: StepRecord, entry: Entry) -> StepRecord:
    return replace(step, entries=tuple(entry.data["entries"]))


def _undone(step: StepRecord, _entry: Entry) -> StepRecord:
    return replace(step, undone=True)


_BEFORE_MITIGATION = frozenset({Stage.DETECTED, Stage.ACKNOWLEDGED, Stage.INVESTIGATING})
_INCIDENT: dict[str, Callable[[Incident, Entry], Incident]] = {
    "incident.severity": _graver,
    "incident.acknowledged": _acknowledged,
    "incident.status": _staged,
    "incident.mitigated": _mitigated,
    "incident.resolved": _resolved,
    "incident.restricted": _restricted,
    "run.started": _mitigating,
    "alert.opened": _fires,
    "alert.resolved": _over,
}
_BEGINS: dict[str, Callable[[Entry], Run]] = {"run.requested": _requested, "update.drafted": _drafted}
_RUN: dict[str, Callable[[Run, Entry], Run]] = {
    "run.scheduled": _scheduled,
    "run.abort_asked": _abort_asked,
    "run.finished": _run_finished,
    "lock.taken": _locked,
    "lock.released": _unlocked,
    "lock.broken": _unlocked,
}
_STEP: dict[str, Callable[[StepRecord, Entry], StepRecord]] = {
    "step.listed": _listed,
    "step.delegated": _delegated,
    "step.started": _started,
    "step.applied": _applied,
    "step.retried": _retried,
    "step.finished": _finished,
    "step.undone": _undone,
}
