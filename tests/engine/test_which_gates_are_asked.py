"""Severity says which gates are asked at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from stopgap.plan import gates
from stopgap.policy.model import ApprovalRules, RoleName
from stopgap.problems import Position
from stopgap.runbook.model import ApprovalRequest, Step, StepId

if TYPE_CHECKING:
    from stopgap.actions.contract import Action

OWN = ApprovalRequest(by=(RoleName("technical-lead"),))


@dataclass(frozen=True, slots=True)
class Like:
    """What a gate looks at of an action."""

    effect: str = "changes"
    risk: str = "low"
    name: str = "test.change"


def asked(rules: ApprovalRules, *, own: bool = False, unknown_starter: bool = False, **like: str) -> str:
    step = Step(id=StepId("s"), name="S", position=Position(1, 1), approval=OWN if own else None)
    action: Any = Like(**like)
    typed: Action = action
    found = gates.request(step, typed, rules, unknown_starter=unknown_starter)
    return "" if found is None else "own" if found[0] is OWN else "policy"


@pytest.mark.parametrize(
    ("asks", "plain", "risky", "written"),
    [
        ("every-change", "policy", "policy", "own"),
        ("risky", "", "policy", "own"),
        ("written", "", "", "own"),
        ("nothing", "", "", ""),
    ],
)
def test_policy_says_which_gates_are_asked(asks: Any, plain: str, risky: str, written: str) -> None:
    rules = ApprovalRules(asks=asks)
    assert (asked(rules), asked(rules, risk="high"), asked(rules, own=True)) == (plain, risky, written)
    assert asked(rules, effect="reads") == ""


@pytest.mark.parametrize("asks", ["every-change", "risky", "written", "nothing"])
def test_the_first_change_of_a_run_whose_starter_nobody_knows_always_asks(asks: Any) -> None:
    rules = ApprovalRules(asks=asks)
    assert (asked(rules, unknown_starter=True), asked(rules, own=True, unknown_starter=True)) == ("policy", "own")
    assert asked(rules, effect="reads", unknown_starter=True) == ""


def test_an_empty_list_of_roles_asks_before_nothing() -> None:
    assert asked(ApprovalRules(high_risk=(), asks="every-change"), risk="high") == ""
