from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stopgap.approvals import decide
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer, Attempt, Gate, Question
from stopgap.incidents import fold
from stopgap.incidents.model import Mode, Run
from stopgap.incidents.open import open_incident, request_run
from stopgap.policy.model import ApprovalRules, Escalation, Person, PersonId, Policy, Role, RoleName, Severity
from stopgap.runbook.model import ApprovalRequest, Runbook, StepId
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from stopgap.testing import ManualClock
    from stopgap.timeline.entry import Timeline

COMMANDER, LEAD, MANAGER = RoleName("incident-commander"), RoleName("technical-lead"), RoleName("engineering-manager")
PEOPLE = {PersonId(each): Person(id=PersonId(each), name=each.title()) for each in ("ada", "ben", "chen", "dana")}
POLICY = Policy(
    people=PEOPLE,
    roles={
        COMMANDER: Role(name=COMMANDER, holders=(PersonId("ada"),), deputies=(PersonId("ben"),)),
        LEAD: Role(name=LEAD, holders=(PersonId("chen"),)),
        MANAGER: Role(name=MANAGER, holders=(PersonId("dana"),)),
    },
    approvals=ApprovalRules(require_code=False),
)
RUNBOOK = Runbook(name="r", title="R", description="", owner="ada", severity=Severity.SEV3, path=Path("r.yaml"), digest="0" * 64, steps=())
STEP = StepId("shift")


def ask(timeline: Timeline, request: ApprovalRequest | None = None) -> tuple[Run, Gate]:
    key = uuid.uuid4().hex
    incident = open_incident(timeline, title="t", severity=Severity.SEV3, actor="zoe", key=key)
    run = request_run(timeline, incident=incident, runbook=RUNBOOK, parameters={}, mode=Mode.LIVE, starter="zoe", key=key)
    return run, ask_again(timeline, run, request)


def ask_again(timeline: Timeline, run: Run, request: ApprovalRequest | None = None, asks: dict[str, object] | None = None) -> Gate:
    return gates.ask(
        timeline,
        run,
        step=STEP,
        question=Question.APPROVE,
        request=request or ApprovalRequest(by=(COMMANDER,)),
        expires=timedelta(minutes=15),
        asks=asks or {"digest": "d"},
        text="may this be done?",
        allow_self=False,
    )


def attempt(gate: Gate, person: str, answer: Answer = Answer.APPROVE, *, digest: str | None = None, id: str = "") -> Attempt:  # noqa: A002
    return Attempt(
        id=id or uuid.uuid4().hex,
        person=person,
        answer=str(answer),
        digest=gate.digest if digest is None else digest,
        reason="",
        channel="test",
    )


def test_an_answer_read_twice_counts_once(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    answer = attempt(gate, "ada")
    first = decide.decide(any_timeline, POLICY, clock, run=run, attempt=answer)
    second = decide.decide(any_timeline, POLICY, clock, run=run, attempt=answer)
    assert (first.accepted, second.accepted) == (True, True)
    assert [entry.kind for entry in any_timeline.of_run(run.id)] == ["run.requested", "gate.asked", "gate.answered", "gate.decided"]


def test_an_answer_without_the_digest_of_the_open_round_is_refused(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    verdict = decide.decide(any_timeline, POLICY, clock, run=run, attempt=attempt(gate, "ada", digest="0123456789abcdef"))
    assert not verdict.accepted
    assert verdict.text == (
        f"The answer is for change 0123456789abcdef, but the open question is about {gate.digest}. Look at it again and decide anew."
    )
    assert verdict.gate
    assert verdict.gate.is_open


def test_an_expired_gate_takes_no_answer(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    clock.advance(timedelta(minutes=15))
    verdict = decide.decide(any_timeline, POLICY, clock, run=run, attempt=attempt(gate, "ada"))
    assert verdict.text == "The question about shift expired after 15m."
    settled = decide.settle(any_timeline, clock, run=run, gate=gate)
    assert (settled.has_expired, settled.answer) == (True, None)


def test_an_answer_that_came_in_time_counts_though_its_worker_read_it_late(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    clock.advance(timedelta(minutes=14))
    given = replace(attempt(gate, "ada"), received=clock.now())
    clock.advance(timedelta(minutes=2))
    assert decide.decide(any_timeline, POLICY, clock, run=run, attempt=given).text == "ada (incident-commander) approved shift"


def test_an_answer_that_lay_unread_for_long_counts_by_when_it_is_read(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    clock.advance(timedelta(minutes=14))
    given = replace(attempt(gate, "ada"), received=clock.now())
    clock.advance(timedelta(minutes=11))
    assert decide.decide(any_timeline, POLICY, clock, run=run, attempt=given).text == "The question about shift expired after 15m."


def test_a_clock_set_back_opens_nothing(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    clock.advance(timedelta(minutes=15))
    decide.settle(any_timeline, clock, run=run, gate=gate)
    clock.set_back(timedelta(hours=1))
    verdict = decide.decide(any_timeline, POLICY, clock, run=run, attempt=attempt(gate, "ada"))
    assert verdict.text == "Too late: Nobody decided about shift within 15m: expired."


def test_escalation_lets_the_next_role_decide_in_its_time(any_timeline: Timeline, clock: ManualClock) -> None:
    request = ApprovalRequest(by=(COMMANDER,), escalate=Escalation(after=timedelta(minutes=5), to=MANAGER))
    run, gate = ask(any_timeline, request)
    early = decide.decide(any_timeline, POLICY, clock, run=run, attempt=attempt(gate, "dana"))
    assert early.text == "dana does not hold incident-commander. ada, ben may decide."
    clock.advance(timedelta(minutes=5))
    assert decide.decide(any_timeline, POLICY, clock, run=run, attempt=attempt(gate, "dana")).accepted


def test_an_answer_to_a_decided_question_is_told_how_it_was_decided(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    decide.decide(any_timeline, POLICY, clock, run=run, attempt=attempt(gate, "ada", Answer.STOP))
    late = decide.decide(any_timeline, POLICY, clock, run=run, attempt=attempt(gate, "ben"))
    assert (late.accepted, late.text) == (False, "Too late: ada (incident-commander) decided about shift: stop the run.")


def test_an_answer_to_an_earlier_round_is_told_what_is_asked_now(any_timeline: Timeline, clock: ManualClock) -> None:
    run, first = ask(any_timeline)
    decide.decide(any_timeline, POLICY, clock, run=run, attempt=attempt(first, "ada"))
    decide.void(any_timeline, run, first, why="it moved")
    second = ask_again(any_timeline, run)
    late = decide.decide(any_timeline, POLICY, clock, run=run, attempt=attempt(first, "ben"))
    assert not late.accepted
    assert late.text == (
        f"The answer is for change {first.digest}, the question of round 1 of shift; now it is about {second.digest} (round 2 of shift). "
        "Look at it and decide anew."
    )


def test_a_run_that_has_ended_takes_no_answer(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    ended = Draft(
        chain=run.incident, incident=run.incident, run=run.id, kind="run.finished", text="ended", actor="stopgap", data={"end": "aborted"}
    )
    any_timeline.append(ended)
    verdict = decide.decide(any_timeline, POLICY, clock, run=fold.find_run(any_timeline, run.id), attempt=attempt(gate, "ada"))
    assert verdict.text == f"{run.id} has ended (aborted); there is nothing left to decide."


@pytest.mark.parametrize(
    ("name", "said"), [("adda", 'Policy knows nobody called "adda". Did you mean ada?'), ("", 'Policy knows nobody called "".')]
)
def test_a_stranger_is_refused(any_timeline: Timeline, clock: ManualClock, name: str, said: str) -> None:
    run, gate = ask(any_timeline)
    assert decide.decide(any_timeline, POLICY, clock, run=run, attempt=attempt(gate, name)).text == said


def test_answers_at_once_have_one_decision(timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(timeline, ApprovalRequest(by=(COMMANDER, LEAD)))
    tries = [attempt(gate, "ada"), attempt(gate, "ben", Answer.STOP), attempt(gate, "chen", Answer.STOP)] * 3
    tries = [attempt(gate, each.person, Answer(each.answer)) for each in tries]
    with ThreadPoolExecutor(len(tries)) as pool:
        verdicts = list(pool.map(lambda each: decide.decide(timeline, POLICY, clock, run=run, attempt=each), tries))
    decided = [entry for entry in timeline.of_run(run.id) if entry.kind == "gate.decided"]
    assert len(decided) == 1
    winners = {each.answer for each, verdict in zip(tries, verdicts, strict=True) if verdict.accepted}
    assert winners == {decided[0].data["answer"]}
