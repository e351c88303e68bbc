"""Quorum, withdrawal, broken glass, command and time: the people side of a gate."""

from __future__ import annotations

import os
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stopgap.approvals import attention, decide, handover
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer, Attempt, Gate, Question
from stopgap.incidents import roles
from stopgap.incidents.model import Mode, Run
from stopgap.incidents.open import open_incident, request_run
from stopgap.policy.model import ApprovalRules, BreakGlass, Escalation, Person, PersonId, Policy, Role, RoleName, Severity
from stopgap.runbook.model import ApprovalRequest, Runbook, StepId

if TYPE_CHECKING:
    from stopgap.testing import ManualClock
    from stopgap.timeline.entry import Timeline
    from stopgap.timeline.store import PostgresTimeline

COMMANDER, LEAD, MANAGER = RoleName("incident-commander"), RoleName("technical-lead"), RoleName("engineering-manager")
POLICY = Policy(
    people={PersonId(each): Person(id=PersonId(each), name=each.title()) for each in ("ada", "ben", "chen", "dana")},
    roles={
        COMMANDER: Role(name=COMMANDER, holders=(PersonId("ada"),), deputies=(PersonId("ben"),)),
        LEAD: Role(name=LEAD, holders=(PersonId("chen"),)),
        MANAGER: Role(name=MANAGER, holders=(PersonId("dana"),)),
    },
    approvals=ApprovalRules(require_code=False, break_glass=BreakGlass(people=(PersonId("dana"),), after=timedelta(minutes=5))),
)
RUNBOOK = Runbook(name="r", title="R", description="", owner="ada", severity=Severity.SEV3, path=Path("r.yaml"), digest="0" * 64, steps=())
STEP = StepId("shift")


def ask(timeline: Timeline, *, approvers: int = 2, chain: tuple[Escalation, ...] = (), starter: str = "zoe") -> tuple[Run, Gate]:
    key = uuid.uuid4().hex
    incident = open_incident(timeline, title="t", severity=Severity.SEV3, actor="zoe", key=key)
    run = request_run(timeline, incident=incident, runbook=RUNBOOK, parameters={}, mode=Mode.LIVE, starter=starter, key=key)
    gate = gates.ask(
        timeline,
        run,
        step=STEP,
        question=Question.APPROVE,
        request=ApprovalRequest(by=(COMMANDER, LEAD), approvers=approvers),
        expires=timedelta(minutes=20),
        asks={"digest": "d"},
        text="may this be done?",
        allow_self=False,
        chain=chain,
    )
    return run, gate


def answer(  # noqa: PLR0913, PLR0917  an answer's parts
    timeline: Timeline, clock: ManualClock, run: Run, gate: Gate, person: str, said: Answer = Answer.APPROVE, **parts: Any
) -> decide.Verdict:
    policy = parts.pop("policy", POLICY)
    attempt = Attempt(
        id=uuid.uuid4().hex, person=person, answer=str(said), digest=gate.digest, reason=parts.pop("reason", ""), channel="test", **parts
    )
    return decide.decide(timeline, policy, clock, run=run, attempt=attempt)


def kinds(timeline: Timeline, run: Run, kind: str) -> list[str]:
    return [entry.text for entry in timeline.of_chain(run.incident) if entry.kind == kind]


def test_an_approval_is_withdrawn_while_others_are_still_needed(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    answer(any_timeline, clock, run, gate, "ada")
    withdrawn = answer(any_timeline, clock, run, gate, "ada", Answer.WITHDRAW, reason="the graphs")
    assert (withdrawn.accepted, withdrawn.text) == (True, "ada withdrew their approval of shift by test: the graphs; 2 more must approve")
    first = answer(any_timeline, clock, run, gate, "ben")
    assert first.gate
    assert (first.gate.approved_by, first.gate.still_needed) == (("ben",), 1)
    assert answer(any_timeline, clock, run, gate, "ada").text.startswith("ben (incident-commander, for ada) and ada (incident-commander)")


def test_a_process_killed_between_the_last_answer_and_the_decision_loses_neither(
    timeline: PostgresTimeline, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, gate = ask(timeline, approvers=1)
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(decide, "settle", lambda *_all, **_named: os.kill(os.getpid(), signal.SIGKILL))
        answer(timeline, clock, run, gate, "ada")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = gates.latest(timeline.of_run(run.id), STEP)
    assert left
    assert (left.is_open, left.approved_by) == (True, ("ada",))
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: decide.settle(timeline, clock, run=run, gate=left), range(2)))
    assert [each.answer for each in found] == [Answer.APPROVE] * 2
    assert kinds(timeline, run, "gate.decided") == ["ada (incident-commander) approved shift"]


def test_who_has_not_approved_has_nothing_to_withdraw(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    answer(any_timeline, clock, run, gate, "ada")
    refused = answer(any_timeline, clock, run, gate, "ben", Answer.WITHDRAW)
    assert (refused.accepted, refused.text) == (False, "ben has not approved, so there is nothing to withdraw. Approved: ada.")


def test_two_withdrawals_at_once_withdraw_one_approval(timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(timeline)
    answer(timeline, clock, run, gate, "ada")
    with ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(lambda _: answer(timeline, clock, run, gate, "ada", Answer.WITHDRAW), range(2)))
    assert any(verdict.accepted for verdict in verdicts)
    found = gates.latest(timeline.of_run(run.id), STEP)
    assert found
    assert (found.is_open, found.approved_by, found.still_needed) == (True, (), 2)


def test_a_withdrawal_after_the_quorum_is_full_comes_too_late(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    answer(any_timeline, clock, run, gate, "ada")
    # Ben's approval is on the timeline, and his process died before it wrote the decision.
    ben = {"round": 1, "answer": "approve", "change": gate.digest, "channel": "test", "reason": ""}
    any_timeline.append(run.draft("gate.answered", "ben answered", step=STEP, actor="ben", data=ben))
    late = answer(any_timeline, clock, run, gate, "ada", Answer.WITHDRAW)
    assert (late.accepted, late.text) == (False, "Too late: ada (incident-commander) and ben approved shift")
    assert late.gate
    assert late.gate.answer is Answer.APPROVE


def test_the_first_to_decide_takes_command_when_nobody_holds_it(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline, approvers=1)
    assert answer(any_timeline, clock, run, gate, "ben").text == "ben (incident-commander) approved shift"
    assert kinds(any_timeline, run, "incident.role") == [f"ben takes command of {run.incident} with this decision: nobody held it"]
    assert roles.fold(any_timeline.of_chain(run.incident)).holder(COMMANDER) == "ben"


def test_who_may_not_command_decides_without_taking_command(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline, approvers=1)
    assert answer(any_timeline, clock, run, gate, "chen").text == "chen (technical-lead by policy) approved shift"
    assert kinds(any_timeline, run, "incident.role") == []


def test_a_role_that_was_handed_over_a_second_ago_decides_nothing(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline, approvers=1)
    desk = handover.open_desk(any_timeline, POLICY, clock, incident=run.incident)
    for person in ("ada", "ben"):
        desk.assign(COMMANDER, person, hand=handover.Hand(person=person, code="", attempt=uuid.uuid4().hex))
    refused = answer(any_timeline, clock, run, gate, "ada")
    assert refused.text == "ada does not hold incident-commander or technical-lead. ben, chen may decide."


def test_one_rejection_ends_it_and_the_starter_does_not_count(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline, starter="ada")
    assert answer(any_timeline, clock, run, gate, "ada").text == (
        "ada started this run, and somebody else must approve it. ben, chen may decide."
    )
    answer(any_timeline, clock, run, gate, "ben")
    ended = answer(any_timeline, clock, run, gate, "chen", Answer.STOP, reason="no")
    assert ended.text == "chen (technical-lead by policy) decided about shift: stop the run: no"


def test_the_glass_is_broken_only_after_the_wait_with_a_reason_by_whom_policy_names(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    early = answer(any_timeline, clock, run, gate, "dana", reason="nobody answers", breaks_glass=True)
    at = gate.asked_at + timedelta(minutes=5)
    assert early.text == (
        f"Not yet: ada, ben, chen may still answer. From {at:%H:%M:%S} UTC on, 5m after the question was asked, dana may approve alone."
    )
    clock.advance(timedelta(minutes=5))
    for person, reason, said in (
        ("ada", "x", "ada may not break the glass; dana may."),
        ("dana", " ", "Breaking the glass needs a reason, which everybody is told. Give it with  --reason"),
    ):
        assert answer(any_timeline, clock, run, gate, person, reason=reason, breaks_glass=True).text == said
    assert answer(any_timeline, clock, run, gate, "dana", Answer.STOP, reason="x", breaks_glass=True).text == (
        "Breaking the glass approves a change, and nothing else."
    )
    alone = answer(any_timeline, clock, run, gate, "dana", reason="nobody answers", breaks_glass=True)
    assert (alone.accepted, alone.text) == (True, "BREAK GLASS: dana approved shift alone: nobody answers")
    decided = next(entry for entry in any_timeline.of_run(run.id) if entry.kind == "gate.decided")
    assert decided.data["break_glass"] is True


def test_no_glass_is_broken_where_policy_names_nobody(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    clock.advance(timedelta(minutes=10))
    strict = replace(POLICY, approvals=ApprovalRules(require_code=False))
    refused = answer(any_timeline, clock, run, gate, "dana", reason="x", breaks_glass=True, policy=strict)
    assert refused.text == "Policy lets nobody approve alone here: approvals.break_glass in policy.yaml names nobody."


def test_a_rejection_before_it_wins_over_a_broken_glass(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    clock.advance(timedelta(minutes=6))
    answer(any_timeline, clock, run, gate, "chen", Answer.STOP)
    assert not answer(any_timeline, clock, run, gate, "dana", reason="x", breaks_glass=True).accepted


def test_reminders_and_escalations_come_once_each_in_their_time(any_timeline: Timeline, clock: ManualClock) -> None:
    chain = (Escalation(after=timedelta(minutes=5), to=MANAGER), Escalation(after=timedelta(minutes=12), to=RoleName("ceo")))
    run, _ = ask(any_timeline, chain=chain)
    for _ in range(19):
        clock.advance(timedelta(minutes=1))
        attention.pay(any_timeline, POLICY, clock, run)
        attention.pay(any_timeline, POLICY, clock, run)
    assert kinds(any_timeline, run, "gate.escalated") == [
        "Nobody decided about shift within 5m: engineering-manager may decide as well",
        "Nobody decided about shift within 12m: ceo may decide as well",
    ]
    assert kinds(any_timeline, run, "gate.reminded") == [
        "shift still waits for incident-commander or technical-lead or engineering-manager: 10m left, then it expires. 2 more must approve.",
        "shift still waits for incident-commander or technical-lead or engineering-manager or ceo: 2m left, then it expires. 2 more must approve.",
    ]


def test_a_reminder_that_was_slept_through_is_not_made_up_for(any_timeline: Timeline, clock: ManualClock) -> None:
    run, _ = ask(any_timeline)
    clock.advance(timedelta(minutes=19))
    attention.pay(any_timeline, POLICY, clock, run)
    clock.advance(timedelta(minutes=2))
    attention.pay(any_timeline, POLICY, clock, run)
    assert len(kinds(any_timeline, run, "gate.reminded")) == 1


def test_two_sweepers_write_one_reminder(timeline: Timeline, clock: ManualClock) -> None:
    run, _ = ask(timeline)
    clock.advance(timedelta(minutes=11))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: attention.pay(timeline, POLICY, clock, run), range(4)))
    assert len(kinds(timeline, run, "gate.reminded")) == 1


@pytest.mark.parametrize(("minutes", "accepted"), [(4, False), (5, True)])
def test_the_next_role_decides_in_its_time_whether_anything_was_written_or_not(
    any_timeline: Timeline, clock: ManualClock, minutes: int, *, accepted: bool
) -> None:
    run, gate = ask(any_timeline, approvers=1, chain=(Escalation(after=timedelta(minutes=5), to=MANAGER),))
    clock.advance(timedelta(minutes=minutes))
    assert answer(any_timeline, clock, run, gate, "dana").accepted is accepted
