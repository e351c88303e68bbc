"""`parallel`: planned whole, asked about in one question, then carried out side by side."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_engine import carry_out, statuses, texts
from stopgap.actions.contract import Context, PermanentError
from stopgap.actions.kubernetes import scale
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer
from stopgap.engine import journal
from stopgap.engine import run as runs
from stopgap.incidents.model import Mode, RunEnd
from stopgap.testing import ScriptedStage

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from stopgap.approvals.model import Gate
    from stopgap.engine.stage import Part

APPROVE = ("ada", Answer.APPROVE)
GROUP = """\
steps:
  - id: both
    name: Make room
    parallel:
      - {id: one, name: More of the new, uses: kubernetes.scale, with: {deployment: checkout, replicas: 5}}
      - {id: two, name: More of the old, uses: kubernetes.scale, with: {deployment: checkout-stable, replicas: 4}}
"""
ASKING = f"{GROUP}    approval: {{by: [incident-commander]}}\n"
AFTER = """\
  - id: after
    uses: note
    with: {text: "both ${{ steps.both.status }}, one ${{ steps.one.status }} from ${{ steps.one.output.before }}, two ${{ steps.two.status }}"}
"""


def refuses(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the scaling of one Deployment fail."""
    apply = scale.Scale.apply

    def fails(self: scale.Scale, context: Context, change: Any) -> Any:
        if self.deployment == name:
            raise PermanentError(f"{name} cannot be scaled")
        return apply(self, context, change)

    monkeypatch.setattr(scale.Scale, "apply", fails)


def test_members_work_at_the_same_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(2, timeout=30)
    apply = scale.Scale.apply

    def meets(self: scale.Scale, context: Context, change: Any) -> Any:
        meeting.wait()  # breaks, and fails both, unless the other is on its way at the same time
        return apply(self, context, change)

    monkeypatch.setattr(scale.Scale, "apply", meets)
    work = bench.work(GROUP + AFTER)
    assert carry_out(work) is RunEnd.DONE
    assert statuses(work.run()) == {"one": "done", "two": "done", "both": "done", "after": "done"}
    assert (bench.replicas(), bench.replicas("checkout-stable")) == (5, 4)
    assert texts(work, "step.finished")[2:] == ["Make room: 2 of 2 done", "After: both done, one done from 3, two done"]


def test_all_is_planned_and_asked_about_in_one_question_before_any_starts(bench: Bench) -> None:
    work = bench.work(ASKING)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    gate = gates.waiting(work.entries())
    assert gate
    assert gate.step == "both"
    assert [each["step"] for each in gate.asks["members"]] == ["one", "two"]
    assert texts(work, "gate.asked") == [
        "Make room: may this be done? 2 changes: checkout: 3 -> 5 replicas; checkout-stable: 3 -> 4 replicas"
    ]
    assert texts(work, "step.started") == []
    assert carry_out(work, both=APPROVE) is RunEnd.DONE
    assert len(texts(work, "gate.asked")) == 1
    assert (bench.replicas(), bench.replicas("checkout-stable")) == (5, 4)


def test_what_one_member_finds_changed_voids_the_approval_of_all(bench: Bench) -> None:
    def meddled(gate: Gate) -> tuple[str, Answer]:
        assert gate.round == 1
        bench.meddle(4)
        return APPROVE

    work = bench.work(ASKING)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work, both=meddled)
    assert texts(work, "step.started") == []
    assert texts(work, "gate.voided") == ["Make room: the approval is void, because the change is no longer the one approved"]
    gate = gates.waiting(work.entries())
    assert gate
    assert gate.asks["differs"] == [{"what": "one replicas now", "was": 3, "is": 4}]
    assert carry_out(work, both=APPROVE) is RunEnd.DONE
    assert (bench.replicas(), bench.replicas("checkout-stable")) == (5, 4)


@pytest.mark.parametrize(
    ("answer", "end", "status"),
    [(Answer.SKIP, RunEnd.DONE, "rejected"), (Answer.STOP, RunEnd.REJECTED, "rejected"), (Answer.UNDO, RunEnd.REJECTED, "rejected")],
)
def test_one_refusal_is_for_all_of_them(bench: Bench, answer: Answer, end: RunEnd, status: str) -> None:
    work = bench.work(f"{ASKING}  - {{id: after, uses: note, with: {{text: go on}}}}\n")
    assert carry_out(work, both=("ada", answer)) is end
    found = {"one": status, "two": status, "both": status}
    assert statuses(work.run()) == (found | {"after": "done"} if answer is Answer.SKIP else found)
    assert bench.world.effects()[-1:] == () or "scale" not in str(bench.world.effects()[-1])
    assert (bench.replicas(), bench.replicas("checkout-stable")) == (3, 3)


def test_whoever_decides_must_be_entitled_for_every_member(bench: Bench) -> None:
    two = "with: {deployment: checkout-stable, replicas: 4}"
    by = "approval: {by: [technical-lead, incident-commander], approvers: 2}"
    work = bench.work(ASKING.replace(two, f"{two}, {by}"))
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    gate = gates.waiting(work.entries())
    assert gate
    assert (gate.by, gate.approvers) == (("incident-commander",), 2)


def test_members_that_nobody_may_decide_about_together_do_not_start(bench: Bench) -> None:
    two = "{id: two, name: More of the old, uses: kubernetes.scale, with: {deployment: checkout-stable, replicas: 4}"
    risky = "{id: two, uses: kubernetes.rollback, with: {deployment: checkout}"  # about which policy asks the incident commander
    steps = GROUP.replace("replicas: 5}", "replicas: 5}, approval: {by: [technical-lead]}").replace(
        "deployment: checkout, ", "deployment: checkout-stable, "
    )
    work = bench.work(steps.replace(two, risky))
    assert carry_out(work) is RunEnd.FAILED
    assert texts(work, "step.finished")[-1] == (
        "Make room: Its members ask incident-commander and technical-lead, and one question about all of them would have nobody to answer it.\n"
        "Name a role in all of their approvals, or write them as steps one after the other."
    )
    assert texts(work, "step.started") == []


def test_two_members_with_one_target_do_not_start(bench: Bench) -> None:
    work = bench.work(GROUP.replace("checkout-stable", "checkout"))
    assert carry_out(work) is RunEnd.FAILED
    assert texts(work, "step.finished")[-1] == (
        'Make room: "one" and "two" would both change kubernetes/sandbox/shop/deployment/checkout, and nobody could tell their effects apart.\n'
        "Write them as steps one after the other."
    )
    assert bench.replicas() == 3


def test_nothing_starts_when_one_cannot_be_planned(bench: Bench) -> None:
    work = bench.work(GROUP.replace("replicas: 4", "replicas: 99"))
    assert carry_out(work) is RunEnd.FAILED
    assert statuses(work.run()) == {"two": "failed", "one": "skipped", "both": "failed"}
    assert bench.replicas() == 3


@pytest.mark.parametrize(
    ("member", "group", "follows"),
    [
        ("stop", "stop", "failed"),
        ("stop", "continue", "goes on"),
        ("continue", "stop", "goes on"),
        ("rollback", "continue", "rolled back"),
        ("stop", "rollback", "rolled back"),
    ],
)
def test_what_follows_when_a_member_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch, member: str, group: str, follows: str) -> None:
    refuses(monkeypatch, "checkout-stable")
    two = "with: {deployment: checkout-stable, replicas: 4}"
    steps = GROUP.replace(two, f"{two}, on_failure: {member}") + f"    on_failure: {group}\n"
    work = bench.work(f"{steps}  - {{id: after, uses: note, with: {{text: go on}}}}\n")
    if follows == "rolled back":
        assert carry_out(work, one__undo=APPROVE) is RunEnd.FAILED
        assert bench.replicas() == 3
        assert texts(work, "step.undone") == ["More of the new: undone"]
        return
    assert carry_out(work) is (RunEnd.DONE if follows == "goes on" else RunEnd.FAILED)
    assert bench.replicas() == 5
    assert ("after" in statuses(work.run())) == (follows == "goes on")
    assert texts(work, "step.finished")[2] == "Make room: 1 of 2 done; More of the old: checkout-stable cannot be scaled"


def test_a_group_and_a_member_are_skipped_by_their_conditions(bench: Bench) -> None:
    skipped = bench.work(
        f'{GROUP}    when: "${{{{ run.id == \'\' }}}}"\n  - {{id: after, uses: note, with: {{text: "${{{{ steps.one.status }}}}"}}}}\n'
    )
    assert carry_out(skipped) is RunEnd.DONE
    assert statuses(skipped.run()) == {"one": "skipped", "two": "skipped", "both": "skipped", "after": "done"}
    replicas = "with: {deployment: checkout, replicas: 5}"
    partly = bench.work(GROUP.replace(replicas, f"{replicas}, when: \"${{{{ run.id == '' }}}}\""))
    assert carry_out(partly) is RunEnd.DONE
    assert statuses(partly.run()) == {"one": "skipped", "two": "done", "both": "done"}
    assert (bench.replicas(), bench.replicas("checkout-stable")) == (3, 4)


def test_a_dry_run_shows_every_member_and_changes_nothing(bench: Bench) -> None:
    work = bench.work(ASKING, mode=Mode.DRY)
    before = bench.world.effects()
    assert carry_out(work) is RunEnd.DONE
    assert statuses(work.run()) == {"one": "not_checked", "two": "not_checked", "both": "not_checked"}
    assert texts(work, "step.finished")[-1] == "Make room: 2 members, nothing was done"
    assert any("would do: checkout: 3 -> 5 replicas; would ask incident-commander first" in text for text in texts(work, "step.finished"))
    assert bench.world.effects() == before


@pytest.mark.parametrize(
    ("given", "asks", "ended"),
    [
        ({"one": "done", "two": "failed"}, True, {"one": "done", "two": "failed", "both": "failed"}),
        ({"both": "done"}, True, {"one": "done", "two": "done", "both": "done"}),
        ({"both": "rejected"}, False, {"one": "rejected", "two": "rejected", "both": "rejected"}),
    ],
)
def test_a_drill_asks_once_and_assumes_how_each_member_ends(
    bench: Bench, given: dict[str, str], *, asks: bool, ended: dict[str, str]
) -> None:
    work = bench.work(ASKING, mode=Mode.DRILL, given=given)
    before = bench.world.effects()
    carry_out(work, **({"both": APPROVE} if asks else {}))
    assert statuses(work.run()) == ended
    assert len(texts(work, "gate.asked")) == asks
    assert bench.world.effects() == before


def test_a_facilitator_is_asked_about_one_member_after_the_other(bench: Bench) -> None:
    work = bench.work(GROUP, mode=Mode.DRILL)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert len(texts(work, "gate.asked")) == 1
    assert carry_out(work, one=("ada", Answer.WORKED), two=("ada", Answer.FAILED)) is RunEnd.FAILED
    assert statuses(work.run()) == {"one": "done", "two": "failed", "both": "failed"}


def test_a_group_whose_members_keep_moving_is_offered_within_bounds(bench: Bench) -> None:
    def meddled(replicas: int) -> Any:
        def answer(_gate: Gate) -> tuple[str, Answer]:
            bench.meddle(replicas)
            return APPROVE

        return answer

    work = bench.work(ASKING)
    for replicas in (4, 2):
        with pytest.raises(ScriptedStage.StillWaiting):
            carry_out(work, both=meddled(replicas))
    gate = gates.waiting(work.entries())
    assert gate
    assert gate.bounds == {"one replicas": {"from": 0, "to": 6}}

    def within(_gate: Gate) -> tuple[str, Answer]:
        bench.meddle(6)
        return "ada", Answer.WITHIN

    assert carry_out(work, both=within) is RunEnd.DONE
    assert (bench.replicas(), bench.replicas("checkout-stable")) == (5, 4)


def test_a_run_that_is_ended_while_its_group_waits_ends_at_once(bench: Bench) -> None:
    work = bench.work(ASKING)

    class Ended(ScriptedStage):
        async def wait(self, part: Part, gate: Gate) -> Gate:
            journal.abort_asked(work.timeline, work.run(), actor="dana", why="enough")
            return gate

    assert asyncio.run(runs.carry_out(work, Ended(work))) is RunEnd.ABORTED
    assert texts(work, "step.started") == []
