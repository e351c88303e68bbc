"""What the worker looks after every few seconds: nothing that was asked for is forgotten, and nothing sleeps past its answer."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.schemas.objects import StateType

from stopgap.approvals import decide
from stopgap.approvals import gate as gates
from stopgap.engine import start
from stopgap.incidents import fold
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
    if gate is None:
        return
    was_open = gate.is_open
    gate = decide.settle(timeline, clock, run=run, gate=gate)
    if not gate.is_open or run.aborted_by:
        _wake_if_asleep(client, run)
    elif was_open and clock.now() - gate.asked_at > SETTLED:
        _ask_again_if_woken(client, run)


def _newest_gate(timeline: Timeline, run: Run) -> Gate | None:
    entries = timeline.of_run(run.id)
    steps = dict.fromkeys(entry.step for entry in entries if entry.kind == "gate.asked")
    found = [gate for step in steps if (gate := gates.latest(entries, StepId(step)))]
    return max(found, key=lambda gate: gate.asked_at, default=None)


def _wake_if_asleep(client: SyncPrefectClient, run: Run) -> None:
    found = client.read_flow_run(UUID(run.flow_run))
    if found.state is not None and found.state.type is StateType.PAUSED:
        start.wake(client, run)


def _ask_again_if_woken(client: SyncPrefectClient, run: Run) -> None:
    """A run set RUNNING by hand while its gate is open has nobody behind it: let it ask again."""
    found = client.read_flow_run(UUID(run.flow_run))
    if found.state is not None and found.state.type is StateType.RUNNING:
        LOG.warning("%s was set running while its gate is open; it asks again", run.id)
        start.wake(client, run)
