"""`stopgap undo`: a run of its own walks the ladder of one that has ended."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fixtures_dying import Died, Dying
from fixtures_engine import carry_out, statuses, texts
from stopgap.approvals.model import Answer
from stopgap.cli.main import run as stopgap
from stopgap.incidents.model import Mode, RunEnd
from stopgap.incidents.open import request_undo
from stopgap.testing import ScriptedStage
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from stopgap.engine.work import Work

STEPS = """\
steps:
  - {id: scale, name: Add capacity, uses: kubernetes.scale, with: {deployment: checkout, replicas: 5}}
  - {id: stable, name: Shrink the old one, uses: kubernetes.scale, with: {deployment: checkout-stable, replicas: 1}}
"""
APPROVE = ("ada", Answer.APPROVE)


def taking_back(work: Work, step: str = "") -> Work:
    """The work that takes back what this one did."""
    run = request_undo(work.timeline, of=work.run(), step=step, starter="dana", key=uuid.uuid4().hex)
    return replace(work, id=run.id)


@pytest.fixture
def done(bench: Bench) -> Work:
    """A run that has done both its steps: checkout 3 -> 5 and checkout-stable 3 -> 1."""
    work = bench.work(STEPS)
    assert carry_out(work) is RunEnd.DONE
    return work


def test_the_last_step_is_taken_back_first_and_what_lowers_capacity_asks(bench: Bench, done: Work) -> None:
    back = taking_back(done)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(back)
    assert (bench.replicas("checkout-stable"), bench.replicas()) == (3, 5)
    assert carry_out(back, scale__undo=APPROVE) is RunEnd.DONE
    assert bench.replicas() == 3
    assert statuses(back.run()) == {"stable.undo": "done", "scale.undo": "done"}
    assert texts(back, "run.requested") == [f"Undo of {done.id} asked for by dana"]
    assert texts(back, "run.started") == [f"Taking back {done.id}"]
    assert texts(back, "run.finished") == [f"Taking back {done.id}: done. Taken back: stable, scale."]
    assert texts(done, "step.undone") == [f"Shrink the old one: undone by {back.id}", f"Add capacity: undone by {back.id}"]


def test_one_step_can_be_taken_back_alone(bench: Bench, done: Work) -> None:
    assert carry_out(taking_back(done, "stable")) is RunEnd.DONE
    assert (bench.replicas("checkout-stable"), bench.replicas()) == (3, 5)
    assert carry_out(taking_back(done), scale__undo=APPROVE) is RunEnd.DONE  # what is left
    assert bench.replicas() == 3


def test_it_holds_the_targets_that_it_takes_back(bench: Bench, done: Work) -> None:
    back = taking_back(done)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(back)
    held = [(lock.target.rpartition("/")[2], lock.run) for lock in bench.timeline.locks.of_all()]
    assert held == [("checkout", back.id), ("checkout-stable", back.id)]


def test_a_state_that_is_no_longer_what_the_run_left_is_asked_about(bench: Bench, done: Work) -> None:
    bench.meddle(replicas=2)
    back = taking_back(done, "scale")
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(back)
    assert back.entries()[-1].data["asks"]["why"] == "replicas is no longer what this run left behind"
    assert carry_out(back, scale__undo=APPROVE) is RunEnd.DONE
    assert bench.replicas() == 3


def test_who_stops_at_a_gate_stops_the_ladder(bench: Bench, done: Work) -> None:
    bench.meddle(replicas=7)
    with_third = taking_back(done)
    assert carry_out(with_third, scale__undo=("ada", Answer.STOP)) is RunEnd.REJECTED
    assert texts(with_third, "run.finished") == [
        (
            f"Taking back {done.id}: rejected. Taken back: stable. "
            "Left standing: Add capacity: checkout: 3 -> 5 replicas (its undo ended rejected)."
        )
    ]


def test_an_abort_leaves_the_rest_standing(bench: Bench, done: Work) -> None:
    back = taking_back(done)
    run = back.run()
    draft = Draft(chain=run.incident, incident=run.incident, run=run.id, kind="run.abort_asked", actor="dana", text="enough")
    bench.timeline.append(draft)
    assert carry_out(back) is RunEnd.ABORTED
    assert (bench.replicas("checkout-stable"), bench.replicas()) == (1, 5)
    assert back.entries()[-1].data["left_standing"] == [
        "Shrink the old one: checkout-stable: 3 -> 1 replicas (not taken back)",
        "Add capacity: checkout: 3 -> 5 replicas (not taken back)",
    ]


@pytest.mark.parametrize("durable", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 9))
def test_dying_at_any_entry_takes_back_once(bench: Bench, at: int, *, durable: bool) -> None:
    work = bench.work(
        STEPS.replace("  - {id: scale", "  - {id: never, when: \"${{ run.id == 'x' }}\"").replace("replicas: 1", "replicas: 2")
    )
    assert carry_out(work) is RunEnd.DONE
    before = len(bench.world.effects())
    back = taking_back(work)
    dying = Dying(back.timeline, at, durable)
    try:
        carry_out(replace(back, timeline=dying))
    except Died:
        pass
    else:
        assert dying.count < at
    assert carry_out(back) is RunEnd.DONE
    assert bench.replicas("checkout-stable") == 3
    assert len(bench.world.effects()) - before == 1
    assert [entry.kind for entry in work.entries()][-1] == "step.undone"
    assert bench.timeline.locks.of_all() == ()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert stopgap(["undo", *arguments, "--as", "dana"]) in {1, 2}
    return capsys.readouterr().err


def test_what_cannot_be_taken_back_is_said(
    bench: Bench, done: Work, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(bench.folder))
    assert refused(capsys, done.id, "--step", "scal") == (
        f'{done.id} left nothing of a step "scal" to take back. Steps that may be taken back: scale, stable.\n'
    )
    path = bench.folder / "test-runbook.yaml"
    text = path.read_text()
    path.write_text(text + "# edited\n")
    assert refused(capsys, done.id) == (
        f"test-runbook, which {done.id} followed, has changed since, so stopgap cannot tell what its steps were.\n"
        f"Put version {done.runbook.digest[:12]} of it back, or take the changes back by hand:  stopgap timeline show {done.id}\n"
    )
    back = taking_back(done)
    carry_out(back, scale__undo=APPROVE)
    assert (
        refused(capsys, done.id) == f"{done.id} left nothing to take back: no step of it changed anything, or all was taken back already.\n"
    )
    assert refused(capsys, back.id) == (f"{back.id} took back {done.id}. To do that again, start the runbook:  stopgap run test-runbook\n")


def test_only_an_ended_live_run_is_taken_back(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    waits = bench.work(STEPS.replace("{id: scale,", "{id: scale, approval: {by: [incident-commander]},"))
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(waits)
    assert refused(capsys, waits.id) == (
        f"{waits.id} has not ended. End it first:  stopgap abort {waits.id}\n"
        f"Or, if it waits for an answer:  stopgap reject {waits.id} --undo\n"
    )
    dry = bench.work(STEPS, mode=Mode.DRY)
    carry_out(dry)
    assert refused(capsys, dry.id) == f"{dry.id} is a dry run: it changed nothing.\n"
