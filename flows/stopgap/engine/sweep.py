"""What the worker looks after every few seconds: nothing that was asked for is forgotten, and nothing sleeps past its answer."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from stopgap.approvals import decide
from stopgap.approvals import gate as gates
from stopgap.engine import journal, start
from stopgap.incidents import fold
from stopgap.incidents.model import RunEnd
from stopgap.problems import StopgapError
from stopgap.runbook.model import StepId
from stopgap.timeline import locks

if TYPE_CHECKING:
    from collections.abc import Collection

    from stopgap.approvals.model import Gate
    from stopgap.clock import Clock
    from stopgap.engine.api import Api, FlowRun
    from stopgap.incidents.model import Run
    from stopgap.timeline.entry import Timeline

LOG = logging.getLogger("stopgap.engine")
SETTLED = timedelta(seconds=10)  # how long a run may look awake at its gate before it counts as woken by a stranger
MOST_TURNS = 20  # how often Prefect may begin a run anew
HANDED_OVER = timedelta(seconds=5)  # how long handing a run to Prefect may take


def sweep(api: Api, timeline: Timeline, clock: Clock, *, active: Collection[UUID] = ()) -> None:
    """Look at every run that has not ended; `active` are the flow runs this worker is executing right now."""
    for run in _open_runs(timeline):
        try:
            _look_after(api, timeline, clock, run, active)
        except StopgapError as error:
            LOG.warning("%s: %s", run.id, error)


def _open_runs(timeline: Timeline) -> list[Run]:
    ended = {entry.run for entry in timeline.of_kind("run.finished")}
    return [fold.find_run(timeline, entry.run) for entry in timeline.of_kind("run.requested") if entry.run not in ended]


def _look_after(api: Api, timeline: Timeline, clock: Clock, run: Run, active: Collection[UUID]) -> None:
    if not run.flow_run:
        if clock.now() - run.requested_at > HANDED_OVER and run.starter:
            start.schedule(timeline, api, run)
        return
    if UUID(run.flow_run) in active:
        return
    gate = _newest_gate(timeline, run)
    if gate:
        gate = decide.settle(timeline, clock, run=run, gate=gate)
    found = api.flow_run(run.flow_run)
    if _may_go_on(timeline, run, gate, found):
        start.wake(api, run)
    elif found.state == "RUNNING" and gate and gate.is_open and clock.now() - gate.asked_at > SETTLED:
        LOG.warning("%s was set running while its gate is open; it asks again", run.id)
        api.reschedule(run.flow_run, name="Resuming")
    elif found.has_ended:
        _take_up_again(api, timeline, run, found)


def _may_go_on(timeline: Timeline, run: Run, gate: Gate | None, found: FlowRun) -> bool:
    """Say whether what a sleeping run waits for has come."""
    if found.state_name == start.LOCKED:
        return bool(run.aborted_by) or locks.is_free(timeline.locks.of_all(), run.id)
    return found.state == "PAUSED" and bool(run.aborted_by or (gate and not gate.is_open))


def _newest_gate(timeline: Timeline, run: Run) -> Gate | None:
    entries = timeline.of_run(run.id)
    steps = dict.fromkeys(entry.step for entry in entries if entry.kind == "gate.asked")
    found = [gate for step in steps if (gate := gates.latest(entries, StepId(step)))]
    return max(found, key=lambda gate: gate.asked_at, default=None)


def _take_up_again(api: Api, timeline: Timeline, run: Run, found: FlowRun) -> None:
    """A run that ended in Prefect and not on the timeline: somebody cancelled it there, or it lost its database or its process."""
    if found.state == "CANCELLED":
        journal.finished(timeline, run, RunEnd.ABORTED, f"{run.id} was cancelled in Prefect")
    elif found.turns >= MOST_TURNS:
        text = f"{run.id} ended {found.turns} times in Prefect without coming to its end; it is given up: {found.message}"
        journal.finished(timeline, run, RunEnd.FAILED, text)
    else:
        LOG.warning("%s ended in Prefect (%s) but not on the timeline; it is taken up again", run.id, found.state_name)
        api.reschedule(found.id, name="AwaitingRetry")
