"""`runbook.run`: a run within a run."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest

from fixtures_dying import Died, Dying
from fixtures_engine import HEAD, Ahead, carry_out, statuses, texts
from stopgap.approvals.model import Answer
from stopgap.clock import SystemClock
from stopgap.engine import journal, nested
from stopgap.incidents import fold
from stopgap.incidents.model import Mode, RunEnd, StepRecord
from stopgap.incidents.open import request_undo
from stopgap.plan import build
from stopgap.runbook.model import StepId
from stopgap.testing import ScriptedStage

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run
    from stopgap.timeline.entry import Timeline

APPROVE = ("ada", Answer.APPROVE)
PARENT = """\
steps:
  - id: before
    uses: note
    with: {text: hello}
  - id: more
    name: Add capacity
    uses: runbook.run
    with: {runbook: growth, parameters: {replicas: 5}}
"""
FAILS = """\
  - id: fail
    uses: wait
    with: {for: 1h}
    timeout: 1s
    on_failure: rollback
"""
CHILD = """\
parameters: {replicas: {type: integer, default: 4}}
steps:
  - id: scale
    name: Scale
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: "${{ params.replicas }}"}
    approval: {by: [incident-commander]}
"""


@pytest.fixture
def child(bench: Bench) -> str:
    return write(bench, "growth", CHILD)


def write(bench: Bench, name: str, steps: str) -> str:
    (bench.folder / f"{name}.yaml").write_text(HEAD.replace("name: test-runbook", f"name: {name}") + steps)
    return name


def within(work: Work) -> list[Run]:
    """The runs of this run's steps."""
    asked = work.timeline.of_kind("run.requested")
    return [fold.find_run(work.timeline, entry.run) for entry in asked if entry.data.get("within") == work.id]


def test_it_has_its_own_gate_on_the_same_incident_and_its_end_is_the_steps(bench: Bench, child: str) -> None:
    work = bench.work(PARENT)
    assert carry_out(work, scale=APPROVE) is RunEnd.DONE
    (found,) = within(work)
    assert (found.runbook, found.incident, found.starter, found.end) == (child, work.run().incident, "dana", RunEnd.DONE)
    assert found.parameters == {"replicas": 5}
    assert statuses(found) == {"scale": "done"}
    assert statuses(work.run()) == {"before": "done", "more": "done"}
    assert record(work, "more").output == {"run": found.id, "end": "done"}
    assert texts(work, "step.delegated") == [f"Add capacity: growth runs as {found.id}"]
    assert bench.replicas() == 5


def record(work: Work, step: str) -> StepRecord:
    return work.run().steps[StepId(step)]


def test_what_the_other_runbook_would_change_is_shown_before(bench: Bench, child: str) -> None:
    assert child
    work = bench.work(PARENT)
    planned = build.plan(work.runbook, {}, policy=bench.policy, clock=SystemClock())
    change = planned.steps[1].change
    assert change
    assert change.summary == "run growth: A test (1 steps)"
    assert change.notes == (
        "it has gates and a timeline of its own, and is taken back by its own undo",
        "1. Scale: checkout: 3 -> 5 replicas; asks incident-commander",
    )
    assert change.after["parameters"] == {"replicas": 5}


@pytest.mark.parametrize(("answer", "end"), [(Answer.STOP, RunEnd.REJECTED), (Answer.SKIP, RunEnd.REJECTED)])
def test_its_failure_is_the_steps_failure(bench: Bench, child: str, answer: Answer, end: RunEnd) -> None:
    assert child
    work = bench.work(PARENT)
    assert carry_out(work, scale=("ada", answer)) is end
    assert statuses(work.run())["more"] == "rejected"
    assert bench.replicas() == 3


def test_its_undo_is_the_other_runs_undo_ladder(bench: Bench, child: str) -> None:
    assert child
    work = bench.work(PARENT + FAILS)
    assert carry_out(work, scale=APPROVE, scale__undo=APPROVE) is RunEnd.FAILED
    forth, back = within(work)
    assert (back.undoes, back.end, back.incident) == (forth.id, RunEnd.DONE, forth.incident)
    assert forth.steps[StepId("scale")].undone
    assert statuses(work.run()) == {"before": "done", "more": "done", "fail": "failed", "more.undo": "done"}
    assert bench.replicas() == 3
    assert "Taken back: more." in texts(work, "run.finished")[0]


def test_an_undo_asked_for_afterwards_reaches_it_too(bench: Bench, child: str) -> None:
    assert child
    work = bench.work(PARENT)
    carry_out(work, scale=APPROVE)
    asked = request_undo(work.timeline, of=work.run(), step="", starter="dana", key="afterwards")
    assert carry_out(replace(work, id=asked.id), scale__undo=APPROVE) is RunEnd.DONE
    assert bench.replicas() == 3
    assert record(work, "more").undone


def test_one_that_left_nothing_behind_needs_no_undo(bench: Bench, child: str) -> None:
    assert child
    work = bench.work(PARENT.replace("replicas: 5", "replicas: 3") + FAILS)
    carry_out(work, scale=APPROVE)
    assert "more.undo" not in statuses(work.run())


def test_it_works_under_the_locks_of_the_run_that_it_belongs_to(bench: Bench, child: str) -> None:
    assert child
    first = "steps:\n  - {id: first, uses: kubernetes.scale, with: {deployment: checkout, replicas: 4}}\n"
    work = bench.work(first + PARENT.partition("\n")[2])
    with pytest.raises(ScriptedStage.StillWaiting, match="scale"):
        carry_out(work)
    locks = [(lock.target, lock.run, lock.is_held) for lock in work.timeline.locks.of_all()]
    assert locks == [("kubernetes/sandbox/shop/deployment/checkout", work.id, True)]
    assert carry_out(work, scale=APPROVE) is RunEnd.DONE
    assert bench.replicas() == 5
    assert not work.timeline.locks.of_all()


def test_a_runbook_that_would_run_itself_is_refused_when_it_runs(bench: Bench) -> None:
    write(bench, "ping", "steps:\n  - {id: pong, uses: runbook.run, with: {runbook: pong}}\n")
    write(bench, "pong", "steps:\n  - {id: ping, uses: runbook.run, with: {runbook: ping}}\n")
    work = bench.work("steps:\n  - {id: start, uses: runbook.run, with: {runbook: ping}}\n")
    assert carry_out(work) is RunEnd.FAILED
    assert not within(work)
    assert record(work, "start").text == "Start: ping would run itself: ping > pong > ping."


def test_a_dry_run_of_it_is_a_dry_run_of_the_other(bench: Bench, child: str) -> None:
    assert child
    work = bench.work(PARENT, mode=Mode.DRY)
    assert carry_out(work) is RunEnd.DONE
    (found,) = within(work)
    assert (found.mode, found.end, statuses(found)) == (Mode.DRY, RunEnd.DONE, {"scale": "not_checked"})
    assert statuses(work.run())["more"] == "not_checked"
    assert bench.replicas() == 3


def test_a_drill_of_it_is_a_drill_of_the_other_or_what_the_scenario_says(bench: Bench, child: str) -> None:
    assert child
    work = bench.work(PARENT, mode=Mode.DRILL, given={"more.scale": "done"})
    assert carry_out(work, scale=APPROVE) is RunEnd.DONE
    (found,) = within(work)
    assert (found.mode, statuses(found), statuses(work.run())["more"]) == (Mode.DRILL, {"scale": "done"}, "done")
    assumed = bench.work(PARENT, mode=Mode.DRILL, given={"more": "failed"})
    carry_out(assumed)
    assert (within(assumed), statuses(assumed.run())["more"], bench.replicas()) == ([], "failed", 3)


def test_ending_the_run_ends_what_it_waits_for_and_takes_nothing_back(bench: Bench, child: str) -> None:
    assert child
    work = bench.work(PARENT + "    on_failure: rollback\n")
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    (found,) = within(work)
    assert nested.open_ones(work.timeline, work.run()) == (found,)
    journal.abort_asked(work.timeline, work.run(), actor="ada", why="enough")
    assert nested.end_with_parent(work.timeline, found)
    assert not nested.end_with_parent(work.timeline, fold.find_run(work.timeline, found.id)), "once"
    ended = fold.find_run(work.timeline, found.id)
    assert ended.aborted_by == "ada"
    assert carry_out(work) is RunEnd.REJECTED
    assert statuses(work.run()) == {"before": "done", "more": "rejected"}
    assert bench.replicas() == 3


def test_a_step_whose_time_is_over_ends_the_other_run(bench: Bench, child: str) -> None:
    assert child
    work = bench.work(PARENT + "    timeout: 1m\n")
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert carry_out(replace(work, clock=Ahead(timedelta(minutes=2)))) is RunEnd.FAILED
    (found,) = within(work)
    assert (found.end, statuses(work.run())["more"], bench.replicas()) == (RunEnd.ABORTED, "failed", 3)
    (why,) = [entry.text for entry in work.timeline.of_run(found.id) if entry.kind == "run.abort_asked"]
    assert why == f"stopgap ends {found.id}: the step more of {work.id} has taken too long"


def test_killed_at_any_entry_it_asks_for_one_run_and_one_undo_of_it(bench: Bench, child: str) -> None:
    """The process dies at every fourth entry of the run, of the one within it and of the undo of that, in turn right before it lasts and right after."""
    assert child
    answers = {"scale": APPROVE, "scale__undo": APPROVE}
    for at in range(2, 100, 4):
        work = bench.work(PARENT + FAILS.replace("1s", "0.05s"))
        before, dying = len(bench.world.effects()), Dying(work.timeline, at, durable=bool(at % 8 == 2))
        with contextlib.suppress(Died):
            carry_out(replace(work, timeline=cast("Timeline", dying)), **answers)
        assert carry_out(work, **answers) is RunEnd.FAILED
        forth, back = within(work)
        assert (back.undoes, len(bench.world.effects()) - before, bench.replicas()) == (forth.id, 2, 3), at
        assert statuses(work.run()) == {"before": "done", "more": "done", "fail": "failed", "more.undo": "done"}, at
        if dying.count < at:
            break
    assert at > 30, "the run came to its end before it died"
