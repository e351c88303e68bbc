"""The process dies at every entry while several members are in flight; the next goes on, and each effect happens once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_dying import Died, Dying
from fixtures_engine import carry_out, statuses, texts
from stopgap.actions.contract import Context, Probe
from stopgap.actions.kubernetes import scale
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer
from stopgap.incidents.model import RunEnd
from stopgap.testing import ScriptedStage

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from stopgap.engine.work import Work

APPROVE = ("ada", Answer.APPROVE)
GROUP = """\
parameters: {{more: {{type: integer, default: 4}}}}
steps:
  - id: both
    name: Make room
    {approval}
    parallel:
      - {{id: one, uses: kubernetes.scale, with: {{deployment: checkout, replicas: "${{{{ params.more }}}}"}}}}
      - {{id: two, uses: kubernetes.scale, with: {{deployment: checkout-stable, replicas: "${{{{ params.more }}}}"}}}}
"""
ASKING = GROUP.format(approval="approval: {by: [incident-commander]}")
EACH = """\
parameters: {more: {type: integer, default: 4}}
steps:
  - id: grow
    uses: kubernetes.scale
    for_each: [checkout, checkout-stable]
    max_in_flight: 2
    with: {deployment: "${{ item }}", replicas: "${{ params.more }}"}
"""


def scaled(bench: Bench, before: int) -> Counter[str]:
    """How often each Deployment was scaled since then."""
    return Counter(str(each["name"]) for each in bench.world.effects()[before:] if each["changed"])


@pytest.mark.parametrize(
    ("steps", "durable"),
    [(ASKING, False), (ASKING, True), (EACH, True)],
    ids=["before, in a group", "after, in a group", "after, in a list"],
)
def test_dying_at_any_entry_repeats_nothing(bench: Bench, steps: str, *, durable: bool) -> None:
    at, died = 0, True
    while died:
        at, before, more = at + 1, len(bench.world.effects()), 4 + at % 2
        work = bench.work(steps, more=more)
        dying = Dying(work.timeline, at, durable)
        try:
            carry_out(replace(work, timeline=dying), both=APPROVE)
        except Died:
            assert carry_out(work, both=APPROVE) is RunEnd.DONE
        else:
            died = dying.count >= at
        assert set(statuses(work.run()).values()) == {"done"}
        assert scaled(bench, before) == {"checkout": 1, "checkout-stable": 1}, f"dying at entry {at}"
        assert (bench.replicas(), bench.replicas("checkout-stable")) == (more, more)
    assert at > 12


def lost(monkeypatch: pytest.MonkeyPatch, *names: str, of: Probe = Probe.UNKNOWN) -> None:
    """Let the process die inside these members, and the system be unable to tell what became of them."""
    apply, probe = scale.Scale.apply, scale.Scale.probe
    died = set[str]()

    def dies(self: scale.Scale, context: Context, change: Any) -> Any:
        if self.deployment in names and self.deployment not in died:
            died.add(self.deployment)
            raise Died
        return apply(self, context, change)

    def cannot_tell(self: scale.Scale, context: Context, change: Any) -> Probe:
        return of if self.deployment in names else probe(self, context, change)

    monkeypatch.setattr(scale.Scale, "apply", dies)
    monkeypatch.setattr(scale.Scale, "probe", cannot_tell)


def interrupted(work: Work, **answers: Any) -> None:
    with pytest.raises(Died):
        carry_out(work, **answers)


def test_one_member_in_doubt_asks_while_the_other_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    work = bench.work(EACH)
    lost(monkeypatch, "checkout")
    interrupted(work)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert statuses(work.run())["grow[1]"] == "done"
    assert texts(work, "gate.asked") == ["Grow (checkout): attempt 1 may or may not have happened, and the system cannot tell"]
    assert carry_out(work, **{"grow[0]": ("ada", Answer.AGAIN)}) is RunEnd.DONE
    assert (bench.replicas(), bench.replicas("checkout-stable")) == (4, 4)


def test_members_in_doubt_ask_one_after_the_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    work = bench.work(ASKING)
    lost(monkeypatch, "checkout", "checkout-stable")
    interrupted(work, both=APPROVE)
    open_ = set[str]()
    for _ in range(2):  # the second process goes on with the same question
        with pytest.raises(ScriptedStage.StillWaiting):
            carry_out(work)
        gate = gates.waiting(work.entries())
        assert gate
        open_.add(gate.step)
    assert len(texts(work, "gate.asked")) == 2  # the group's, and one member's
    first = open_.pop()
    assert not open_
    second = {"one": "two", "two": "one"}[first]
    assert carry_out(work, **{first: ("ada", Answer.DONE), second: ("ada", Answer.STOP)}) is RunEnd.FAILED
    found = statuses(work.run())
    assert (found[first], found[second], found["both"]) == ("done", "unknown", "unknown")


def test_a_question_is_taken_back_when_the_system_has_answered_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    work = bench.work(EACH)
    lost(monkeypatch, "checkout")
    interrupted(work)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    lost(monkeypatch, "checkout", of=Probe.DONE)
    assert carry_out(work) is RunEnd.DONE
    assert texts(work, "gate.voided") == ["Grow (checkout): nobody needs to answer any more, for the system says what became of it"]
