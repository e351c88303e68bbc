"""What the worker looks after every few seconds: nothing that was asked for is forgotten, and nothing sleeps past its answer."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.states import AwaitingRetry

from stopgap.approvals import decide
from stopgap.approvals import gate as gates
from stopgap.engine import journal, start
from stopgap.incidents import fold
from stopgap.incidents.model import RunEnd
from stopgap.problems import StopgapError
from stopgap.runbook.model import StepId

if TYPE_CHECKING:
    from collections.abc import Collection

    from prefect.client.orchestration import SyncPrefectClient

    from stopgap.approvals.model import Gate
    from stopgap.clock import Clock
    from stopgap.incidents.model import Run
    from stopgap.timeline.entry import Timeline

LOG = logging.getLogger("stopgap.engine")
SETTLED = timedelta(seconds=10)  # how long a run may look awake at its gate before it counts as woken by a stranger
MOST_TURNS = 20  # how often Prefect may begin a run anew
HANDED_OVER = timedelta(seconds=5)  # how long handing a run to Prefect may take


def sweep(client: SyncPrefectClient, timeline: Timeline, clock: Clock, *, active: Collection[UUID] = ()) -> None:
    """Look at every run that has not ended; `active` are the flow runs this worker is executing right now."""
    for run in _open_runs(timeline):
        try:
            _look_after(client, timeline, clock, run, active)
        except StopgapError as error:
            LOG.warning("%s: %s", run.id, error)


def _open_runs(timeline: Timeline) -> list[Run]:
    ended = {entry.run for entry in timeline.of_kind("run.finished")}
    return [fold.find_run(timeline, entry.run) for entry in timeline.of_kind("run.requested") if entry.run not in ended]


def _look_after(client: SyncPrefectClient, timeline: Timeline, clock: Clock, run: Run, active: Collection[UUID]) -> None:
    if not run.flow_run:
        if clock.now() - run.requested_at > HANDED_OVER and run.starter:
            start.schedule(timeline, client, run)
        return
    if UUID(run.flow_run) in active:
        return
    gate = _newest_gate(timeline, run)
    if gate:
        gate = decide.settle(timeline, clock, run=run, gate=gate)
    state = client.read_flow_run(UUID(run.flow_run)).state
    if state is None:
        return
    if state.type is StateType.PAUSED and (run.aborted_by or (gate and not gate.is_open)):
        start.wake(client, run)
    elif state.type is StateType.RUNNING and gate and gate.is_open and clock.now() - gate.asked_at > SETTLED:
        LOG.warning("%s was set running while its gate is open; it asks again", run.id)
        start.wake(client, run)
    elif state.is_final():
        _take_up_again(client, timeline, run)


def _newest_gate(timeline: Timeline, run: Run) -> Gate | None:
    entries = timeline.of_run(run.id)
    steps = dict.fromkeys(entry.step for entry in entries if entry.kind == "gate.asked")
    found = [gate for step in steps if (gate := gates.latest(entries, StepId(step)))]
    return max(found, key=lambda gate: gate.asked_at, default=None)


def _take_up_again(client: SyncPrefectClient, timeline: Timeline, run: Run) -> None:
    """A run that ended in Prefect and not on the timeline: somebody cancelled it there, or it lost its database or its process."""
    found = client.read_flow_run(UUID(run.flow_run))
    if found.state is None or not found.state.is_final():
        return
    if found.state.type is StateType.CANCELLED:
        journal.finished(timeline, run, RunEnd.ABORTED, f"{run.id} was cancelled in Prefect")
    elif found.run_count >= MOST_TURNS:
        journal.finished(
            timeline,
            run,
            RunEnd.FAILED,
            f"{run.id} ended {found.run_count} times in Prefect without coming to its end; it is given up: {found.state.message}",
        )
    else:
        LOG.warning("%s ended in Prefect (%s) but not on the timeline; it is taken up again", run.id, found.state.name)
        client.set_flow_run_state(found.id, AwaitingRetry(), force=True)
