"""What a step's `retry`, `timeout`, `verify`, `on_failure` and `when` mean, on the sandbox with its faults."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from fixtures_engine import Ahead, carry_out, statuses, texts
from stopgap.approvals.model import Answer
from stopgap.incidents.model import RunEnd
from stopgap.testing import ScriptedStage

if TYPE_CHECKING:
    from fixtures_engine import Bench

SCALE = """\
steps:
  - id: scale
    name: Add capacity
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 5}
    MORE
  - {id: after, name: Say so, uses: note, with: {text: "scale was ${{ steps.scale.status }}"}}
"""
NEVER = "verify: {uses: http.wait, timeout: 1s, with: {url: SHOP, status: 418, within: 1h, every: 1s}}"


def steps(bench: Bench, *more: str) -> str:
    return SCALE.replace("MORE", "\n    ".join(more).replace("SHOP", bench.world.shop_url))


def test_a_temporary_error_is_tried_again_as_often_as_the_step_says(bench: Bench) -> None:
    work = bench.work(steps(bench, "retry: {attempts: 3, delay: 0.1s}"))
    bench.world.fault("refused", count=2)
    assert carry_out(work) is RunEnd.DONE
    assert bench.replicas() == 5
    assert len(texts(work, "step.started")) == 4  # three attempts, and the note
    assert texts(work, "step.retried") == [
        f"Add capacity: attempt {number} was in doubt; the system says it did not happen" for number in (1, 2)
    ]
    assert all("503" in text for text in texts(work, "step.note"))


def test_a_temporary_error_fails_a_step_whose_attempts_are_used_up(bench: Bench) -> None:
    work = bench.work(steps(bench, "retry: {attempts: 2, delay: 0.1s}"))
    bench.world.fault("refused", count=2)
    assert carry_out(work) is RunEnd.FAILED
    assert bench.replicas() == 3
    assert statuses(work.run()) == {"scale": "failed"}
    assert texts(work, "step.finished") == ["Add capacity: attempt 2 was in doubt; the system says it did not happen"]


def test_without_retry_a_step_is_tried_once(bench: Bench) -> None:
    work = bench.work(steps(bench))
    bench.world.fault("refused", count=1)
    assert carry_out(work) is RunEnd.FAILED
    assert len(texts(work, "step.started")) == 1


def test_an_answer_that_got_lost_is_probed_and_not_sent_again(bench: Bench) -> None:
    work = bench.work(steps(bench, "retry: {attempts: 3, delay: 0.1s}"))
    before = len(bench.world.effects())
    bench.world.fault("lost_after", count=1)
    assert carry_out(work) is RunEnd.DONE
    assert len(bench.world.effects()) - before == 1
    assert texts(work, "step.applied")[0] == "Add capacity: attempt 1 was in doubt; the system says it is done"


def test_a_request_that_never_arrived_is_probed_and_tried_again(bench: Bench) -> None:
    work = bench.work(steps(bench, "retry: {attempts: 3, delay: 0.1s}"))
    before = len(bench.world.effects())
    bench.world.fault("lost_before", count=1)
    assert carry_out(work) is RunEnd.DONE
    assert len(bench.world.effects()) - before == 1
    assert texts(work, "step.retried") == ["Add capacity: attempt 1 was in doubt; the system says it did not happen"]


def test_verifying_ends_with_its_own_timeout(bench: Bench) -> None:
    work = bench.work(steps(bench, NEVER, "on_failure: continue"))
    assert carry_out(work) is RunEnd.DONE
    assert statuses(work.run()) == {"scale": "failed", "after": "done"}
    assert texts(work, "step.finished")[0].startswith("Add capacity: checkout: 3 -> 5 replicas; 5 ready, but it did not help: ")
    assert texts(work, "run.finished") == [
        "A test: done. Done: after. Not done: scale. Left standing: scale (checkout: 3 -> 5 replicas; 5 ready)."
    ]


def test_stop_is_what_happens_when_nothing_is_said(bench: Bench) -> None:
    work = bench.work(steps(bench, NEVER))
    assert carry_out(work) is RunEnd.FAILED
    assert statuses(work.run()) == {"scale": "failed"}
    assert bench.replicas() == 5
    assert texts(work, "run.finished") == [
        "A test: failed. Done: nothing. Not done: scale, after. Left standing: scale (checkout: 3 -> 5 replicas; 5 ready)."
    ]


def test_rollback_takes_the_failing_step_back_first_and_then_those_before_it(bench: Bench) -> None:
    before = """\
steps:
  - {id: more, name: Make room, uses: kubernetes.scale, with: {deployment: checkout, replicas: 4}}
"""
    work = bench.work(steps(bench, NEVER, "on_failure: rollback").replace("steps:\n", before))
    answers = {"scale__undo": ("ada", Answer.APPROVE), "more__undo": ("ada", Answer.APPROVE)}
    assert carry_out(work, **answers) is RunEnd.FAILED
    assert bench.replicas() == 3
    assert texts(work, "step.undone") == ["Add capacity: undone", "Make room: undone"]
    assert texts(work, "run.finished") == ["A test: failed. Done: nothing. Taken back: more, scale. Not done: after."]


def test_an_undo_that_is_not_approved_is_left_standing_and_said(bench: Bench) -> None:
    work = bench.work(steps(bench, NEVER, "on_failure: rollback"))
    assert carry_out(work, scale__undo=("ada", Answer.SKIP)) is RunEnd.FAILED
    assert bench.replicas() == 5
    (text,) = texts(work, "run.finished")
    assert text.endswith("Left standing: Add capacity: checkout: 3 -> 5 replicas (its undo ended rejected).")


def test_stop_and_undo_takes_back_what_was_done_before_the_gate(bench: Bench) -> None:
    ask = """\
    id: scale
    name: Add capacity
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 4}
  - id: more
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 6}
    approval: {by: [incident-commander]}
"""
    work = bench.work("steps:\n  -" + ask[3:])
    answers = {"more": ("ada", Answer.UNDO), "scale__undo": ("ben", Answer.APPROVE)}
    assert carry_out(work, **answers) is RunEnd.REJECTED
    assert bench.replicas() == 3
    assert statuses(work.run())["more"] == "rejected"


@pytest.mark.parametrize(("on_failure", "end", "after"), [("stop", RunEnd.EXPIRED, None), ("continue", RunEnd.DONE, "done")])
def test_a_question_that_expired_is_a_failure_of_its_step(bench: Bench, on_failure: str, end: RunEnd, after: str | None) -> None:
    work = bench.work(steps(bench, "approval: {by: [incident-commander], expires: 10m}", f"on_failure: {on_failure}"))
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert carry_out(replace(work, clock=Ahead(timedelta(minutes=11)))) is end
    assert bench.replicas() == 3
    assert statuses(work.run()).get("after") == after
    assert texts(work, "gate.expired") == ["Nobody decided about scale within 10m: expired"]


def test_a_condition_reads_how_earlier_steps_ended(bench: Bench) -> None:
    work = bench.work(steps(bench).replace("uses: note", "when: \"${{ steps.scale.status != 'done' }}\", uses: note"))
    assert carry_out(work) is RunEnd.DONE
    assert statuses(work.run()) == {"scale": "done", "after": "skipped"}
    assert texts(work, "run.finished") == ["A test: done. Done: scale. Not done: after."]


def test_an_unknown_starter_is_asked_about_the_first_change_though_a_step_has_read_before(bench: Bench) -> None:
    reading = "steps:\n  - {id: before, uses: note, with: {text: hello}}\n"
    work = bench.work(steps(bench).replace("steps:\n", reading), starter="")
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert bench.replicas() == 3
    assert carry_out(work, scale=("ada", Answer.APPROVE)) is RunEnd.DONE
