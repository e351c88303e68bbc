"""What the worker looks after every few seconds: nothing that was asked for is forgotten, nothing sleeps past its answer, and Prefect learns of every end."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from stopgap.approvals import attention, decide
from stopgap.approvals import gate as gates
from stopgap.engine import journal, nested, start, takeover
from stopgap.engine.api import NotFoundError
from stopgap.engine.stage import LOCKED, WAITING
from stopgap.incidents import fold
from stopgap.incidents.model import RunEnd
from stopgap.problems import StopgapError
from stopgap.runbook.model import StepId
from stopgap.timeline import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from stopgap.approvals.model import Gate
    from stopgap.clock import Clock
    from stopgap.engine.api import Api, FlowRun
    from stopgap.incidents.model import Run
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Timeline
    from stopgap.timeline.leases import Lease
    from stopgap.timeline.store import PostgresTimeline

LOG = logging.getLogger("stopgap.engine")
SETTLED = timedelta(seconds=10)  # how long a run may look awake at its gate before it counts as woken by a stranger
MOST_ENDS = 20  # of a flow run before its run's own
AT_ONCE = 3  # of them without a pause after them: one crash costs no time, a broken policy some minutes in which to mend it
HANDED_OVER = timedelta(seconds=5)  # how long handing a run to Prefect may take
SEALS_EVERY = timedelta(hours=1)
OVERLAP = timedelta(minutes=15)  # how far the clocks of two machines with one timeline may be apart
FINISHED_LATELY = timedelta(hours=1)  # a worker that begins looks whether Prefect knows of these ends
LONGEST_PAUSE = timedelta(minutes=1)  # before a run that ended in Prefect by itself is begun anew


@dataclass(slots=True)
class Sweeper:
    """Looks at every run that has not ended, or of whose end Prefect may not know, each time it is called. One a worker.

    Now and then it seals the timeline.

    What it has read it does not read again: a timeline of years must not be read every two seconds.
    """

    api: Api
    timeline: PostgresTimeline
    clock: Clock
    policy: Callable[[str], Policy | None]  # of a runbook, by its name
    _open: dict[str, None] = field(default_factory=dict, init=False)
    _ended: dict[str, bool] = field(default_factory=dict, init=False)  # lately; whether Prefect knows
    _read_to: datetime | None = field(default=None, init=False)
    _sealed_at: float | None = field(default=None, init=False)

    def __call__(self, active: Collection[UUID] = ()) -> None:
        """Look; `active` are the flow runs this worker is executing right now."""
        self._seal()
        self._read()
        unknown = [name for name, is_known in self._ended.items() if not is_known]
        leases = self.timeline.leases.of_all() if self._open or unknown else {}
        for name in (*self._open, *unknown):
            try:
                self._look(fold.find_run(self.timeline, name), active, leases.get(name))
            except StopgapError as error:
                LOG.warning("%s: %s", name, error)

    def _look(self, run: Run, active: Collection[UUID], held: Lease | None) -> None:
        if run.end is None:
            _look_after(self.api, self.timeline, self.policy(run.runbook), self.clock, run, active, held)
        elif _knows_the_end(self.api, self.timeline, self.clock, run, active, held):
            self._ended[run.id] = True

    def _seal(self) -> None:
        now = self.clock.monotonic()
        if self._sealed_at is None or now - self._sealed_at >= SEALS_EVERY.total_seconds():
            self.timeline.seal()
            self.timeline.leases.prune()
            self._sealed_at = now
            self._ended = {name: is_known for name, is_known in self._ended.items() if not is_known}
            self._read_to = None  # read everything once more, for whatever a clock far behind ours has dated back

    def _read(self) -> None:
        now = self.clock.now()
        # After a clock was set back, new entries are dated before what was read last.
        since = self._read_to - OVERLAP if self._read_to and self._read_to <= now else None
        for entry in self.timeline.of_kind("run.requested", "run.finished", since=since):
            if entry.kind == "run.requested":
                self._open[entry.run] = None
            elif entry.run in self._open:
                del self._open[entry.run]
                if now - entry.at <= FINISHED_LATELY:
                    self._ended.setdefault(entry.run, False)
        self._read_to = now


def _look_after(  # noqa: PLR0913, PLR0917  all that it looks at
    api: Api, timeline: PostgresTimeline, policy: Policy | None, clock: Clock, run: Run, active: Collection[UUID], held: Lease | None
) -> None:
    nested.end_with_parent(timeline, run)
    if not run.flow_run:
        if abs(clock.now() - run.requested_at) > HANDED_OVER:  # of a clock that was set back, too
            start.schedule(timeline, api, run)
        return
    attention.pay(timeline, policy, clock, run)  # before Prefect is asked anything: its being away must not keep people unreminded
    is_carried_out = UUID(run.flow_run) in active or bool(held and not held.is_free)
    try:
        found = api.flow_run(run.flow_run)
    except NotFoundError:
        if not is_carried_out:  # a process that still lives ends at its next question
            _replace(api, timeline, run)
        return
    _hear_of_cancelling(timeline, run, found)
    if not is_carried_out:
        _let_go_on(api, timeline, clock, run, found, held)


def _hear_of_cancelling(timeline: Timeline, run: Run, found: FlowRun) -> None:
    if found.state in {"CANCELLING", "CANCELLED"} and not run.aborted_by:
        journal.abort_asked(timeline, run, actor="unknown", why="cancelled in Prefect")


def _let_go_on(  # noqa: PLR0913, PLR0917  all that it looks at
    api: Api, timeline: PostgresTimeline, clock: Clock, run: Run, found: FlowRun, held: Lease | None
) -> None:
    gate = _newest_gate(timeline, run)
    if gate and found.state == "PAUSED":  # otherwise an answer may lie unread, and the run settles it when it has read that
        gate = decide.settle(timeline, clock, run=run, gate=gate)
    patience = SETTLED if gate and gate.is_open and found.state == "RUNNING" else takeover.beginning()
    if _may_go_on(timeline, run, gate, found):
        start.wake(api, run)
    elif takeover.is_lost(found, held, now=clock.now(), patience=patience):
        takeover.resume(api, timeline, run, still=lambda again: takeover.is_lost(again, held, now=clock.now(), patience=patience))
    elif found.has_ended:
        _take_up_again(api, timeline, clock, run, found)


def _knows_the_end(  # noqa: PLR0913, PLR0917  all that it looks at
    api: Api, timeline: PostgresTimeline, clock: Clock, run: Run, active: Collection[UUID], held: Lease | None
) -> bool:
    """Say whether Prefect knows how a run has ended. Its process may have died before it said so: then it begins once more, to say it."""
    if not run.flow_run:
        return True
    try:
        found = api.flow_run(run.flow_run)
    except NotFoundError:
        return True
    if UUID(run.flow_run) in active or (held and not held.is_free):
        return False
    if found.state == "PAUSED":
        start.wake(api, run)
    elif takeover.is_lost(found, held, now=clock.now(), patience=SETTLED):
        takeover.resume(api, timeline, run, still=lambda again: takeover.is_lost(again, held, now=clock.now(), patience=SETTLED))
    elif _says_otherwise(found, run) and (ends := api.ends(found.id)) < MOST_ENDS:
        takeover.resume(api, timeline, run, still=lambda again: _says_otherwise(again, run), at=clock.now() + _pause(ends))
        return False
    return found.has_ended


def _says_otherwise(found: FlowRun, run: Run) -> bool:
    """Say whether Prefect shows a run as failed that ended well, as when its process lost the timeline after it had written its end."""
    return found.state in {"FAILED", "CRASHED"} and run.end is RunEnd.DONE


def _replace(api: Api, timeline: PostgresTimeline, run: Run) -> None:
    """A run whose flow run somebody deleted in Prefect, or that Prefect's database lost: another one carries it on from where it was."""
    with takeover.alone(timeline, run) as taken:
        if taken is None:
            return
        lost = sum(entry.kind == "run.scheduled" for entry in timeline.of_run(run.id))
        if lost < MOST_ENDS:
            LOG.warning("%s: its flow run is gone from Prefect; it goes on as %s", run.id, start.schedule_again(timeline, api, run))
            return
        journal.broken_off(timeline, run, RunEnd.FAILED, f"{run.id} lost its flow run in Prefect {lost} times, and is given up.")


def _may_go_on(timeline: Timeline, run: Run, gate: Gate | None, found: FlowRun) -> bool:
    """Say whether what a sleeping run waits for has come."""
    if found.state_name == LOCKED:
        return bool(run.aborted_by) or locks.is_free(timeline.locks.of_all(), nested.id_of(timeline, run))
    if found.state_name == WAITING:
        return bool(run.aborted_by) or not nested.open_ones(timeline, run)
    return found.state == "PAUSED" and bool(run.aborted_by or (gate and not gate.is_open))


def _newest_gate(timeline: Timeline, run: Run) -> Gate | None:
    entries = timeline.of_run(run.id)
    steps = dict.fromkeys(entry.step for entry in entries if entry.kind == "gate.asked")
    found = [gate for step in steps if (gate := gates.latest(entries, StepId(step)))]
    return max(found, key=lambda gate: gate.asked_at, default=None)


def _take_up_again(api: Api, timeline: PostgresTimeline, clock: Clock, run: Run, found: FlowRun) -> None:
    """A run that ended in Prefect and not on the timeline: somebody cancelled it there, or it lost its database or its process."""
    if found.state == "CANCELLED":
        journal.broken_off(timeline, run, RunEnd.ABORTED, f"{run.id} was cancelled in Prefect.")
    elif (ends := api.ends(found.id)) >= MOST_ENDS:
        text = f"{run.id} ended {ends} times in Prefect without coming to its end; it is given up: {found.message}."
        journal.broken_off(timeline, run, RunEnd.FAILED, text)
    else:
        pause = _pause(ends)
        after = f" in {pause.seconds} s" if pause else ""
        if takeover.resume(api, timeline, run, still=lambda again: again.has_ended, at=clock.now() + pause):
            LOG.warning("%s ended in Prefect (%s) but not on the timeline; it is taken up again%s", run.id, found.state_name, after)


def _pause(ends: int) -> timedelta:
    """Return how long a run waits before it begins anew after so many ends in Prefect."""
    return min(timedelta(seconds=2 ** (ends - AT_ONCE)), LONGEST_PAUSE) if ends > AT_ONCE else timedelta(0)
