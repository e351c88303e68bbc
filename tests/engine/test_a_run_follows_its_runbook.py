from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures_engine import carry_out, statuses, texts
from stopgap.approvals.model import Answer
from stopgap.incidents.model import Mode, RunEnd
from stopgap.testing import ScriptedStage

if TYPE_CHECKING:
    from fixtures_engine import Bench

SCALE = """\
steps:
  - {id: scale, name: Add capacity, uses: kubernetes.scale, with: {deployment: checkout, replicas: 5}}
"""
ASKING = """\
steps:
  - id: scale
    name: Add capacity
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 5}
    approval: {by: [incident-commander]}
    on_failure: continue
  - {id: after, name: Say so, uses: note, with: {text: "scale was ${{ steps.scale.status }}"}}
"""


def test_a_step_without_a_gate_is_carried_out(bench: Bench) -> None:
    work = bench.work(SCALE)
    assert carry_out(work) is RunEnd.DONE
    assert bench.replicas() == 5
    assert [entry.kind for entry in work.entries()] == [
        "run.requested",
        "run.started",
        "lock.taken",
        "step.planned",
        "step.started",
        "step.applied",
        "step.finished",
        "lock.released",
        "run.finished",
    ]
    assert texts(work, "run.finished") == ["A test: done. Done: scale. Not done: nothing."]


def test_a_gate_holds_the_step_until_somebody_answers(bench: Bench) -> None:
    work = bench.work(ASKING)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert bench.replicas() == 3
    assert carry_out(work, scale=("ada", Answer.APPROVE)) is RunEnd.DONE
    assert bench.replicas() == 5
    assert texts(work, "gate.decided") == ["ada (incident-commander) approved scale"]


def test_a_skipped_step_is_rejected_and_the_run_goes_on(bench: Bench) -> None:
    work = bench.work(ASKING)
    assert carry_out(work, scale=("ben", Answer.SKIP)) is RunEnd.DONE
    assert bench.replicas() == 3
    assert statuses(work.run()) == {"scale": "rejected", "after": "done"}
    assert texts(work, "step.finished")[-1] == "Say so: scale was rejected"


def test_stopping_ends_the_run_rejected_with_what_was_not_done(bench: Bench) -> None:
    work = bench.work(ASKING)
    assert carry_out(work, scale=("ada", Answer.STOP)) is RunEnd.REJECTED
    assert bench.replicas() == 3
    assert texts(work, "run.finished") == ["A test: rejected. Done: nothing. Not done: scale, after."]


def test_somebody_without_the_role_is_refused_and_the_gate_stays(bench: Bench) -> None:
    work = bench.work(ASKING)
    turns = iter([("chen", Answer.APPROVE), ("ada", Answer.APPROVE)])
    stage_answers = {"scale": next(turns)}
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work, **stage_answers)
    assert texts(work, "gate.refused") == ["Refused an answer of chen by test: chen does not hold incident-commander. ada, ben may decide."]
    assert bench.replicas() == 3
    assert carry_out(work, scale=next(turns)) is RunEnd.DONE


def test_two_approvers_are_two_people(bench: Bench) -> None:
    work = bench.work(ASKING.replace("[incident-commander]", "[incident-commander, technical-lead], approvers: 2"))
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work, scale=("ada", Answer.APPROVE))
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work, scale=("ada", Answer.APPROVE))
    assert texts(work, "gate.refused") == ["Refused an answer of ada by test: ada has approved already; 1 more of ada, ben, chen must."]
    assert bench.replicas() == 3
    assert carry_out(work, scale=("chen", Answer.APPROVE)) is RunEnd.DONE
    assert bench.replicas() == 5


def test_whoever_started_the_run_cannot_approve_it(bench: Bench) -> None:
    work = bench.work(ASKING, starter="ada")
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work, scale=("ada", Answer.APPROVE))
    assert texts(work, "gate.refused") == [
        "Refused an answer of ada by test: ada started this run, and somebody else must approve it. ben may decide."
    ]


def test_a_run_nobody_is_known_to_have_started_asks_before_its_first_change(bench: Bench) -> None:
    work = bench.work(SCALE, starter="")
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert bench.replicas() == 3
    assert carry_out(work, scale=("ada", Answer.APPROVE)) is RunEnd.DONE


def test_an_approval_is_void_when_the_change_is_another_one(bench: Bench) -> None:
    work = bench.work(ASKING)

    def approve_and_meddle(_gate: object) -> tuple[str, Answer]:
        bench.meddle(replicas=4)
        return ("ada", Answer.APPROVE)

    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work, scale=approve_and_meddle)
    assert bench.replicas() == 4
    assert texts(work, "gate.voided") == ["Add capacity: the approval is void, because the change is no longer the one approved"]
    assert work.entries()[-1].data["asks"]["differs"] == [{"what": "replicas now", "was": 3, "is": 4}]
    assert carry_out(work, scale=("ada", Answer.APPROVE)) is RunEnd.DONE
    assert bench.replicas() == 5


def test_a_step_whose_condition_does_not_hold_is_skipped(bench: Bench) -> None:
    work = bench.work(SCALE.replace("uses:", "when: \"${{ run.id == 'other' }}\", uses:"))
    assert carry_out(work) is RunEnd.DONE
    assert statuses(work.run()) == {"scale": "skipped"}
    assert bench.replicas() == 3


def test_policy_limits_are_kept(bench: Bench) -> None:
    work = bench.work(SCALE.replace("replicas: 5", "replicas: 30"))
    assert carry_out(work) is RunEnd.FAILED
    assert bench.replicas() == 3
    assert texts(work, "step.finished") == [
        'Add capacity: Step "scale" would run 30 replicas, but limits.max_replicas in policy.yaml allows 20.'
    ]


def test_a_step_that_did_not_help_fails_and_is_taken_back(bench: Bench) -> None:
    url = bench.world.shop_url
    verify = f"verify: {{uses: http.wait, with: {{url: {url}, status: 418, within: 1s}}}}, on_failure: rollback"
    work = bench.work(SCALE.replace("uses: kubernetes", f"{verify}, uses: kubernetes"))
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)  # the undo lowers capacity: it asks
    assert bench.replicas() == 5
    assert carry_out(work, scale__undo=("ada", Answer.APPROVE)) is RunEnd.FAILED
    assert bench.replicas() == 3
    assert texts(work, "step.undone") == ["Add capacity: undone"]


def test_a_dry_run_changes_nothing_and_says_what_it_did_not_check(bench: Bench) -> None:
    work = bench.work(ASKING, mode=Mode.DRY)
    before = bench.world.effects()
    assert carry_out(work) is RunEnd.DONE
    assert bench.world.effects() == before
    assert statuses(work.run()) == {"scale": "not_checked", "after": "not_checked"}
    assert texts(work, "step.finished")[0].endswith("; would ask incident-commander first")


def test_a_drill_asks_for_real_and_assumes_what_the_scenario_gives(bench: Bench) -> None:
    work = bench.work(ASKING, mode=Mode.DRILL, given={"scale": "failed"})
    before = bench.world.effects()
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert carry_out(work, scale=("ada", Answer.APPROVE)) is RunEnd.DONE
    assert bench.world.effects() == before
    assert statuses(work.run()) == {"scale": "failed", "after": "done"}
    assert texts(work, "step.finished")[0] == "Add capacity: assumed failed, because the scenario says so"


def test_a_human_does_a_manual_step_and_says_so(bench: Bench) -> None:
    steps = "steps:\n  - {id: call, name: Call the bank, uses: manual, with: {instructions: Call +44 20 7946 0000.}}\n"
    work = bench.work(steps)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert carry_out(work, call=("chen", Answer.DONE)) is RunEnd.DONE
    assert texts(work, "step.finished") == ["Call the bank: chen did it"]
