"""Whether a step asks, whom, and why: the runbook's own gate, or policy's for what is risky."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.plan.model import Asks
from stopgap.runbook.model import ApprovalRequest

if TYPE_CHECKING:
    from stopgap.actions.contract import Action
    from stopgap.policy.model import PersonId, Policy
    from stopgap.runbook.model import Step


def request(step: Step, action: Action, policy: Policy, *, unknown_starter: bool = False) -> tuple[ApprovalRequest, str] | None:
    """Return the gate a step needs and why it asks; None when it may go on by itself."""
    if step.approval:
        return step.approval, "the runbook asks before this step"
    if action.effect != "changes":
        return None
    if action.risk == "high":
        return ApprovalRequest(by=policy.approvals.high_risk), f"{action.name} is risky, and policy asks before every risky step"
    if unknown_starter:
        return ApprovalRequest(by=policy.approvals.high_risk), "nobody knows who started this run"
    return None


def asks(step: Step, action: Action, policy: Policy) -> Asks | None:
    """Return the gate as a plan shows it, with the people who hold the roles."""
    found = request(step, action, policy)
    if found is None:
        return None
    wanted, why = found
    people: list[PersonId] = [person for role in wanted.by for person in policy.holders(role)]
    return Asks(roles=wanted.by, people=tuple(dict.fromkeys(people)), approvers=wanted.approvers, why=why)
