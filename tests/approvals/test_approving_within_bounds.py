"""Something keeps moving what an approval rests on: after two that were void, one within bounds that are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from test_a_gate_is_decided_once import COMMANDER, LEAD, POLICY, ask_again, attempt
from test_a_gate_is_decided_once import ask as ask_first

from fixtures_engine import carry_out, texts
from stopgap.approvals import bounds, decide
from stopgap.approvals.model import Answer
from stopgap.incidents.model import RunEnd
from stopgap.runbook.model import ApprovalRequest
from stopgap.testing import ManualClock, MemoryTimeline, ScriptedStage

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures_engine import Bench
    from stopgap.approvals.model import Gate

ASKING = "steps: [{id: scale, name: Add capacity, uses: kubernetes.scale, with: {deployment: checkout, replicas: 9}, approval: {by: [incident-commander]}}]"


def change(material: dict[str, Any], after: int = 9) -> dict[str, Any]:
    return {"after": {"replicas": after}, "material": material}


@pytest.mark.parametrize(
    ("seen", "offered", "said"),
    [
        ([{"replicas": 3}, {"replicas": 5}], {"replicas": {"from": 1, "to": 7}}, "replicas from 1 to 7"),
        ([{"replicas": 3}, {"replicas": 9}], {"replicas": {"from": 0, "to": 15}}, "replicas from 0 to 15"),
        ([{"weight": 0.5}, {"weight": 0.25}], {"weight": {"from": 0.0, "to": 0.75}}, "weight from 0.0 to 0.75"),
        ([{"image": "a", "n": 1}, {"image": "b", "n": 1}], {"image": {"one_of": ["a", "b"]}}, 'image one of "a", "b"'),
        ([{"on": True}, {"on": False}], {"on": {"one_of": [True, False]}}, "on one of true, false"),
        ([{"a": 1}, {}], {"a": {"one_of": [1, None]}}, "a one of 1, null"),
        ([{"replicas": 3}, {"replicas": 3}], {}, ""),
    ],
)
def test_what_moved_gets_as_much_room_as_it_took(seen: list[dict[str, Any]], offered: object, said: str) -> None:
    found = bounds.offer([change(each) for each in seen])
    assert (found, bounds.text(found)) == (offered, said)


def test_another_change_lends_no_bounds_to_this_one() -> None:
    assert bounds.offer([change({"replicas": 3}, after=4), change({"replicas": 5}, after=9)]) == {}


VALUES = some.one_of(some.integers(-5, 20), some.booleans(), some.sampled_from(["a", "b"]), some.none())
MATERIAL = some.dictionaries(some.sampled_from(["x", "y"]), VALUES, max_size=2)


@given(some.lists(MATERIAL, min_size=1, max_size=4))
def test_whatever_was_seen_lies_within_the_bounds(seen: list[dict[str, Any]]) -> None:
    changes = [change(each) for each in seen]
    found = bounds.offer(changes)
    _, gate = ask_first(MemoryTimeline())
    gate = replace(gate, asks={"change": changes[-1], "bounds": found})
    assert [bounds.hold(gate, each) for each in changes] == [bool(found)] * len(changes)


def keep_moving(bench: Bench, answers: list[tuple[str, Answer]], replicas: list[int]) -> Callable[[Gate], tuple[str, Answer]]:
    def next_one(_gate: Gate) -> tuple[str, Answer]:
        bench.meddle(replicas=replicas.pop(0))
        return answers.pop(0)

    return next_one


def void_twice(bench: Bench) -> Any:
    work = bench.work(ASKING)
    for replicas in (4, 5):
        with pytest.raises(ScriptedStage.StillWaiting):
            carry_out(work, scale=keep_moving(bench, [("ada", Answer.APPROVE)], [replicas]))
    return work


def test_after_two_voids_the_change_may_be_approved_within_bounds(bench: Bench) -> None:
    work = void_twice(bench)
    asked = [entry.data["asks"] for entry in work.entries() if entry.kind == "gate.asked"]
    assert ["bounds" in asks for asks in asked] == [False, False, True]
    assert asked[-1]["bounds"] == {"replicas": {"from": 1, "to": 7}}
    assert carry_out(work, scale=keep_moving(bench, [("ada", Answer.WITHIN)], [7])) is RunEnd.DONE
    assert bench.replicas() == 9
    assert texts(work, "gate.decided")[-1] == "ada (incident-commander) approved scale within replicas from 1 to 7"


def test_beyond_the_bounds_it_is_void_again_and_the_bounds_have_grown(bench: Bench) -> None:
    work = void_twice(bench)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work, scale=keep_moving(bench, [("ada", Answer.WITHIN)], [8]))
    assert bench.replicas() == 8
    assert work.entries()[-1].data["asks"]["bounds"] == {"replicas": {"from": 0, "to": 13}}


def test_a_plain_approval_after_two_voids_allows_only_what_was_shown(bench: Bench) -> None:
    work = void_twice(bench)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work, scale=keep_moving(bench, [("ada", Answer.APPROVE)], [6]))
    assert bench.replicas() == 6


def test_without_bounds_nobody_approves_within_them() -> None:
    timeline, clock = MemoryTimeline(), ManualClock()
    run, gate = ask_first(timeline)
    verdict = decide.decide(timeline, POLICY, clock, run=run, attempt=attempt(gate, "ada", Answer.WITHIN))
    allowed = "approve, skip this step, stop the run, stop and undo"
    assert verdict.text == f'"approve within the bounds" is no answer to this question. Allowed: {allowed}.'


@pytest.mark.parametrize(
    ("first", "second", "decided"),
    [
        (Answer.WITHIN, Answer.WITHIN, "approve within the bounds"),
        (Answer.WITHIN, Answer.APPROVE, "approve"),
        (Answer.APPROVE, Answer.WITHIN, "approve"),
    ],
)
def test_bounds_hold_only_when_everybody_who_counts_approved_within_them(first: Answer, second: Answer, decided: str) -> None:
    timeline, clock = MemoryTimeline(), ManualClock()
    run, _ = ask_first(timeline)
    both = ApprovalRequest(by=(COMMANDER, LEAD), approvers=2)
    gate = ask_again(timeline, run, both, asks={"bounds": {"replicas": {"from": 1, "to": 7}}})
    assert decide.decide(timeline, POLICY, clock, run=run, attempt=attempt(gate, "ada", first)).accepted
    verdict = decide.decide(timeline, POLICY, clock, run=run, attempt=attempt(gate, "chen", second))
    assert verdict.accepted
    assert verdict.gate
    assert verdict.gate.answer == decided
