"""Machines sleep and clocks are set: no gate opens by it, no step runs twice, nothing takes forever, and no duration is negative."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_engine import carry_out, no_policy, statuses, texts
from stopgap.actions.contract import Context, InDoubtError
from stopgap.actions.kubernetes import scale
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer
from stopgap.clock import SystemClock
from stopgap.engine.sweep import Sweeper
from stopgap.incidents.model import RunEnd
from stopgap.policy.model import Policy
from stopgap.testing import ManualClock, ScriptedStage
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fixtures_engine import Bench
    from stopgap.approvals.model import Gate
    from stopgap.engine.work import Work

HOUR = timedelta(hours=1)
STEPS = """\
steps:
  - id: scale
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 5}
    timeout: 1m
    approval: {by: [incident-commander], expires: 15m}
"""
APPROVE = ("ada", Answer.APPROVE)


@dataclass(slots=True)
class Settable(SystemClock):
    """The machine's clock, as far off as a test sets it. `monotonic` goes on as it was, as it does while a machine sleeps."""

    off: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.off


@pytest.fixture
def clock() -> Settable:
    return Settable()


@pytest.fixture
def work(bench: Bench, clock: Settable) -> Iterator[Work]:
    """A run whose engine and timeline go by the settable clock."""
    with opening.timeline(clock=clock) as timeline:
        yield replace(bench.work(STEPS), clock=clock, timeline=timeline)


def is_in_order(work: Work) -> bool:
    moments = [entry.at for entry in work.entries()]
    return all(earlier <= later for earlier, later in itertools.pairwise(moments))


def waits(work: Work) -> Gate:
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    gate = gates.waiting(work.entries())
    assert gate
    return gate


def test_a_machine_that_sleeps_at_a_gate_opens_nothing(work: Work, clock: Settable, bench: Bench) -> None:
    waits(work)
    clock.off = HOUR
    assert carry_out(work, scale=APPROVE) is RunEnd.EXPIRED
    assert statuses(work.run()) == {"scale": "expired"}
    assert bench.replicas() == 3
    assert is_in_order(work)


def test_a_clock_that_is_set_back_at_a_gate_opens_nothing_and_closes_nothing(work: Work, clock: Settable, bench: Bench) -> None:
    first = waits(work)
    clock.off = -HOUR
    assert waits(work) == first
    assert bench.replicas() == 3
    assert carry_out(work, scale=APPROVE) is RunEnd.DONE
    assert bench.replicas() == 5
    assert is_in_order(work)


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["sleeps", "is set back"])
def test_a_step_in_flight_is_done_once_whatever_the_clock_does(
    work: Work, clock: Settable, bench: Bench, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    apply = scale.Scale.apply
    left: list[float] = []

    def shifts(self: scale.Scale, context: Context, change: Any) -> Any:
        clock.off = off
        left.append(context.seconds_left())
        return apply(self, context, change)

    monkeypatch.setattr(scale.Scale, "apply", shifts)
    before = len(bench.world.effects())
    assert carry_out(work, scale=APPROVE) is RunEnd.DONE
    assert [0 < each <= 60 for each in left] == [True]  # it has its minute, and no hour more
    assert sum(bool(each["changed"]) for each in bench.world.effects()[before:]) == 1
    assert is_in_order(work)


def test_a_step_in_doubt_is_probed_for_its_own_time_alone(work: Work, clock: Settable, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = scale.Scale.apply

    def gets_lost(self: scale.Scale, context: Context, change: Any) -> Any:
        apply(self, context, change)
        clock.off = HOUR
        raise InDoubtError("no answer")

    monkeypatch.setattr(scale.Scale, "apply", gets_lost)
    assert carry_out(work, scale=APPROVE) is RunEnd.DONE
    assert len(texts(work, "step.started")) == 1


def test_a_question_asked_anew_is_open_no_longer_than_before_when_the_clock_was_set_back(work: Work, clock: Settable, bench: Bench) -> None:
    waits(work)
    clock.off = -HOUR

    def meddled(_gate: Gate) -> tuple[str, Answer]:
        bench.meddle(4)
        return APPROVE

    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work, scale=meddled)
    gate = gates.waiting(work.entries())
    assert gate
    assert (gate.round, gate.expires) == (2, timedelta(minutes=15))


@pytest.fixture
def in_berlin() -> Iterator[None]:
    """A machine whose local time goes back from three to two o'clock on 25 October 2026, at 01:00 UTC."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
def test_the_end_of_summer_time_shortens_and_lengthens_nothing() -> None:
    clock = ManualClock(datetime(2026, 10, 25, 0, 55, tzinfo=UTC))
    context = Context(policy=Policy(), clock=clock, deadline=clock.now() + timedelta(minutes=10), mark="m")
    shown = clock.now().astimezone()
    clock.advance(timedelta(minutes=9))
    assert clock.now().astimezone().utcoffset() != shown.utcoffset()
    assert context.seconds_left() == 60
    clock.advance(timedelta(minutes=1))
    assert context.seconds_left() == 0


def test_the_sweep_finds_what_is_asked_for_after_the_clock_was_set_back(bench: Bench, clock: Settable) -> None:
    class Nowhere:
        """A Prefect that only notes what it is asked for."""

    api: Any = Nowhere()
    with opening.timeline(clock=clock) as timeline:
        sweeper = Sweeper(api, timeline, clock, no_policy)
        sweeper()
        clock.off = -HOUR
        other = replace(bench, timeline=timeline)
        asked = other.work(STEPS)
        clock.off += timedelta(seconds=6)
        with pytest.raises(AttributeError, match="deployment"):  # it is about to hand the run over
            sweeper()
        assert asked.run().flow_run == ""
