"""An approval of somebody who may not decide any more: before the quorum is full, and before the change is made."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyotp
import pytest
from test_who_may_open_a_gate import COMMANDER, LEAD, POLICY, STEP, answer, ask, kinds

from fixtures_engine import carry_out, texts
from stopgap.approvals import attention, decide, lapse, responders
from stopgap.approvals import gate as gates
from stopgap.approvals.entitled import Side
from stopgap.approvals.model import Answer
from stopgap.engine import gate_form, parts
from stopgap.incidents import roles
from stopgap.incidents.model import RunEnd
from stopgap.policy.model import ApprovalRules, PersonId, Role
from stopgap.testing import ScriptedStage

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from stopgap.approvals.model import Gate
    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run
    from stopgap.testing import ManualClock
    from stopgap.timeline.entry import Timeline


def takes_command(timeline: Timeline, incident: Any, person: str) -> None:
    found = roles.fold(timeline.of_chain(incident))
    timeline.append(roles.change(incident, found, role=COMMANDER, person=PersonId(person), act=roles.Act.TAKEN, by=person, text="taken"))


def without(person: str) -> Any:
    return replace(POLICY, people={each: POLICY.people[each] for each in POLICY.people if each != person})


def test_it_counts_no_more_after_command_was_handed_over(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    answer(any_timeline, clock, run, gate, "ada")  # and takes command
    takes_command(any_timeline, run.incident, "ben")
    second = answer(any_timeline, clock, run, gate, "ben")
    lost = "The approval of ada counts no more: they do not hold incident-commander or technical-lead any more"
    assert second.text == f"ben answered the question about shift by test: approve; 1 more must approve. {lost}."
    assert kinds(any_timeline, run, "gate.lapsed") == [lost]
    assert (
        answer(any_timeline, clock, run, gate, "chen").text == "ben (incident-commander) and chen (technical-lead by policy) approved shift"
    )


def test_a_reminder_does_not_count_it(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    answer(any_timeline, clock, run, gate, "ada")
    clock.advance(timedelta(minutes=10))
    attention.pay(any_timeline, without("ada"), clock, run)
    clock.advance(timedelta(minutes=8))
    attention.pay(any_timeline, None, clock, run)
    assert [text.rpartition(". ")[2] for text in kinds(any_timeline, run, "gate.reminded")] == [
        "2 more must approve.",
        "1 more must approve.",
    ]


def test_it_counts_no_more_when_policy_names_them_no_more(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    answer(any_timeline, clock, run, gate, "ada")
    second = answer(any_timeline, clock, run, gate, "chen", policy=without("ada"))
    lost = "The approval of ada counts no more: policy.yaml names them no more"
    assert second.text == f"chen answered the question about shift by test: approve; 1 more must approve. {lost}."


def test_who_may_again_approves_again(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    answer(any_timeline, clock, run, gate, "ada")
    answer(any_timeline, clock, run, gate, "chen", policy=without("ada"))
    assert (
        answer(any_timeline, clock, run, gate, "ada").text == "chen (technical-lead by policy) and ada (incident-commander) approved shift"
    )


def test_a_quorum_that_is_full_stands_when_command_changes_hands(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    answer(any_timeline, clock, run, gate, "ada")
    done = answer(any_timeline, clock, run, gate, "chen").gate
    takes_command(any_timeline, run.incident, "ben")
    assert done
    assert lapse.why_void(any_timeline, POLICY, done, chain=any_timeline.of_chain(run.incident)) == ""


def test_a_hand_over_in_the_very_moment_of_the_last_approval_leaves_no_quorum(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    answer(any_timeline, clock, run, gate, "ada")
    takes_command(any_timeline, run.incident, "ben")
    # Chen's process had looked at the roles before ben took command.
    chen = {"round": 1, "answer": "approve", "change": gate.digest, "channel": "test", "reason": ""}
    any_timeline.append(run.draft("gate.answered", "chen answered", step=STEP, actor="chen", data=chen))
    asked = gates.latest(any_timeline.of_run(run.id), STEP)
    assert asked
    done = decide.settle(any_timeline, clock, run=run, gate=asked)
    assert done.answer is Answer.APPROVE
    lost = "ada approved it, and they do not hold incident-commander or technical-lead any more"
    assert lapse.why_void(any_timeline, POLICY, done, chain=any_timeline.of_chain(run.incident)) == lost


def test_whoever_looks_sees_it_before_the_next_answer(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    answer(any_timeline, clock, run, gate, "ada")
    takes_command(any_timeline, run.incident, "ben")
    asked = gates.latest(any_timeline.of_run(run.id), STEP)
    assert asked
    found = lapse.seen(any_timeline, asked, Side.of(POLICY, any_timeline.of_chain(run.incident), now=clock.now()))
    assert (found.approved_by, found.still_needed) == ((), 2)
    assert found.lapsed == ("The approval of ada counts no more: they do not hold incident-commander or technical-lead any more",)


CODES = replace(POLICY, approvals=ApprovalRules(require_code=True))


class Telephones:
    """Everybody's apps, which may be lost."""

    def __init__(self, timeline: Timeline, clock: ManualClock) -> None:
        self.timeline, self.clock = timeline, clock
        self.apps: dict[str, pyotp.TOTP] = {}
        for person in CODES.people:
            self.enrol(person)

    def enrol(self, person: str) -> None:
        secret = pyotp.random_base32()
        responders.enrol(self.timeline, responders.roll(self.timeline), person=PersonId(person), by="installer", secret=secret)
        self.apps[person] = pyotp.TOTP(secret)

    def answer(self, run: Run, gate: Gate, person: str) -> decide.Verdict:
        return answer(self.timeline, self.clock, run, gate, person, policy=CODES, code=self.apps[person].at(self.clock.now()))


@pytest.fixture
def telephones(any_timeline: Timeline, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Telephones:
    monkeypatch.setenv("STOPGAP_SECRET_KEY", "the key of the secrets in these tests")
    return Telephones(any_timeline, clock)


def test_it_counts_no_more_when_the_codes_were_revoked(telephones: Telephones) -> None:
    run, gate = ask(telephones.timeline)
    telephones.answer(run, gate, "ada")
    responders.revoke(telephones.timeline, responders.roll(telephones.timeline), person=PersonId("ada"), by="dana")
    said = telephones.answer(run, gate, "chen").text
    assert said.endswith("1 more must approve. The approval of ada counts no more: the one-time codes with which they did are revoked.")
    telephones.enrol("ada")
    assert telephones.answer(run, gate, "ada").text.endswith("approved shift")


STEPS = """\
steps:
  - id: scale
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 4}
    approval: {by: [incident-commander, technical-lead], approvers: 2}
"""


def test_an_approval_whose_giver_left_before_the_change_is_made_is_void_and_the_form_says_why(bench: Bench) -> None:
    work = bench.work(STEPS)
    people = iter(["ada", "chen"])
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    for person in people:
        gate = gates.waiting(work.entries())
        assert gate
        answer(work.timeline, work.clock, work.run(), gate, person, policy=work.policy)  # type: ignore[arg-type]  # a clock
    work = on_policy_without(work, "chen")
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert bench.replicas() == 3
    assert texts(work, "gate.voided") == [
        "Scale: the approval is void, because chen approved it, and they do not hold incident-commander or technical-lead any more"
    ]
    gate = gates.waiting(work.entries())
    assert gate
    form = gate_form.describe(work, parts.part(work, work.runbook.steps[0]), gate)
    assert (
        "**Asked again: the approval is void, and nothing of it was done.** Chen approved it, and they do not hold incident-commander or "
        "technical-lead any more." in form
    )
    for person in ("ada", "ben"):
        answer(work.timeline, work.clock, work.run(), gate, person, policy=work.policy)  # type: ignore[arg-type]
    assert carry_out(work) is RunEnd.DONE
    assert bench.replicas() == 4


def on_policy_without(work: Work, person: str) -> Work:
    named = work.policy.roles[LEAD]
    left = Role(name=LEAD, holders=tuple(each for each in named.holders if each != person))
    return replace(work, policy=replace(work.policy, roles={**work.policy.roles, LEAD: left}))


GROUP = """\
steps:
  - id: both
    parallel:
      - {id: one, uses: kubernetes.scale, with: {deployment: checkout, replicas: 4}, approval: {by: [incident-commander, technical-lead], approvers: 2}}
      - {id: two, uses: kubernetes.scale, with: {deployment: cart, replicas: 2}}
"""


def test_a_group_is_asked_about_again_too(bench: Bench) -> None:
    bench.deploy("cart")
    work = bench.work(GROUP)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    gate = gates.waiting(work.entries())
    assert gate
    for person in ("ada", "chen"):
        answer(work.timeline, work.clock, work.run(), gate, person, policy=work.policy)  # type: ignore[arg-type]
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(on_policy_without(work, "chen"))
    assert (bench.replicas(), bench.replicas("cart")) == (3, 1)
    assert [text.partition(", and")[0] for text in texts(work, "gate.voided")] == ["Both: the approval is void, because chen approved it"]
