"""Whether a step asks, whom, and why: the runbook's own gate, or policy's for what is risky."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.plan.model import Asks
from stopgap.runbook.model import ApprovalRequest

if TYPE_CHECKING:
    from stopgap.actions.contract import Action
    from stopgap.policy.model import ApprovalRules, PersonId, Policy, Severity
    from stopgap.runbook.model import Step


def request(step: Step, action: Action, rules: ApprovalRules, *, unknown_starter: bool = False) -> tuple[ApprovalRequest, str] | None:
    """Return the gate a step needs under the rules of its incident's severity, and why it asks; None when it may go on by itself."""
    nobody_started = unknown_starter and action.effect == "changes"
    if step.approval and (rules.asks != "nothing" or nobody_started):
        return step.approval, "the runbook asks before this step"
    if nobody_started:
        return ApprovalRequest(by=rules.high_risk), "nobody knows who started this run"
    if action.effect != "changes" or not rules.high_risk:
        return None
    if rules.asks == "every-change":
        return ApprovalRequest(by=rules.high_risk), "policy asks before every change at this severity"
    if rules.asks == "risky" and action.risk == "high":
        return ApprovalRequest(by=rules.high_risk), f"{action.name} is risky, and policy asks before every risky step"
    return None


def asks(step: Step, action: Action, policy: Policy, *, severity: Severity) -> Asks | None:
    """Return the gate as a plan shows it, with the people who hold the roles."""
    rules = policy.rules(severity)
    found = request(step, action, rules)
    if found is None:
        return None
    wanted, why = found
    people: list[PersonId] = [person for role in wanted.by for person in policy.holders(role)]
    return Asks(roles=wanted.by, people=tuple(dict.fromkeys(people)), approvers=max(wanted.approvers, rules.approvers), why=why)
