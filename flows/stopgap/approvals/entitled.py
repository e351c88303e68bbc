"""Whose answer counts at a gate, and as what: policy's roles, who holds them in the incident, and who may break the glass."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from stopgap.approvals.model import APPROVALS, Answer, Question
from stopgap.clock import format_duration
from stopgap.incidents import fold, roles
from stopgap.incidents.roles import COMMANDER, Act, Roles
from stopgap.policy.model import ApprovalRules, PersonId

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from stopgap.approvals.model import Attempt, Gate
    from stopgap.incidents.model import IncidentId
    from stopgap.policy.model import Policy, RoleName
    from stopgap.timeline.entry import Draft, Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What an answer is judged by: policy, the roles as they are held in the incident, the rules of its severity, and the moment."""

    policy: Policy
    now: datetime
    held: Roles = field(default_factory=Roles)
    rules: ApprovalRules = field(default_factory=ApprovalRules)

    @classmethod
    def of(cls, policy: Policy, chain: Sequence[Entry], *, now: datetime) -> Self:
        """Read it from the incident's chain."""
        incident = fold.incident(chain)
        rules = policy.rules(incident.severity) if incident else policy.approvals
        return cls(policy=policy, now=now, held=roles.fold(chain), rules=rules)

    def acting(self, role: RoleName) -> tuple[PersonId, ...]:
        """Return who may act as this role now."""
        return roles.acting(self.policy, self.held, role)


def may_decide(gate: Gate, side: Side) -> tuple[PersonId, ...]:
    """Return everybody whose answer would count now, holders before deputies; all people when the gate names no role."""
    asked = gate.roles(side.now)
    people = [person for role in asked for person in side.acting(role)] if asked else list(side.policy.people)
    excluded = {gate.starter} if gate.question is Question.APPROVE and not gate.allow_self else set()
    return tuple(dict.fromkeys(person for person in people if person not in excluded))


def standing(gate: Gate, side: Side, person: PersonId) -> str:
    """Say as what somebody answers: the role they hold, or the one they stand in for; empty when the gate asks everybody."""
    asked = [role for role in gate.roles(side.now) if person in side.acting(role)]
    held = [role for role in side.held.of(person) if role in asked]
    if held:
        return ", ".join(held)
    for role in asked:
        holder = side.held.holder(role)
        if holder:
            return f"{role}, for {holder}"
        return f"{role} by policy"
    return ", ".join(side.held.of(person))


def command_taken(gate: Gate, side: Side, incident: IncidentId, person: PersonId) -> Draft | None:
    """Return the entry by which somebody takes command with the answer they give, when nobody commands and they may."""
    if COMMANDER not in gate.roles(side.now) or side.held.holder(COMMANDER) or person not in side.acting(COMMANDER):
        return None
    text = f"{person} takes command of {incident} with this decision: nobody held it"
    return roles.change(incident, side.held, role=COMMANDER, person=person, act=Act.TAKEN, by=person, text=text)


def objection(gate: Gate, side: Side, attempt: Attempt) -> str:
    """Say why this person's answer cannot count; empty when it can."""
    person = PersonId(attempt.person)
    if person not in side.policy.people:
        near = difflib.get_close_matches(attempt.person, side.policy.people, n=1)
        return f'Policy knows nobody called "{attempt.person}".' + (f" Did you mean {near[0]}?" if near else "")
    if attempt.answer == Answer.WITHDRAW:
        so_far = ", ".join(gate.approved_by) or "nobody yet"
        return "" if person in gate.approved_by else f"{person} has not approved, so there is nothing to withdraw. Approved: {so_far}."
    if attempt.breaks_glass:
        return _glass_objection(gate, side, attempt)
    able = may_decide(gate, side)
    if person not in able:
        started = person == gate.starter and gate.question is Question.APPROVE and not gate.allow_self
        why = "started this run, and somebody else must approve it" if started else f"does not hold {_roles(gate.roles(side.now))}"
        return f"{person} {why}. {', '.join(able) or 'Nobody'} may decide."
    if person in gate.approved_by and attempt.answer in APPROVALS:
        return f"{person} has approved already; {gate.still_needed} more of {', '.join(able)} must."
    return ""


def _glass_objection(gate: Gate, side: Side, attempt: Attempt) -> str:
    glass = side.rules.break_glass
    if glass is None:
        return "Policy lets nobody approve alone here: approvals.break_glass in policy.yaml names nobody."
    if attempt.person not in glass.people:
        return f"{attempt.person} may not break the glass; {', '.join(glass.people)} may."
    if gate.question is not Question.APPROVE or attempt.answer != Answer.APPROVE:
        return "Breaking the glass approves a change, and nothing else."
    if not attempt.reason.strip():
        return "Breaking the glass needs a reason, which everybody is told. Give it with  --reason"
    if side.now < gate.asked_at + glass.after:
        others = ", ".join(may_decide(gate, side)) or "nobody"
        return (
            f"Not yet: {others} may still answer. From {gate.asked_at + glass.after:%H:%M:%S} UTC on, {format_duration(glass.after)} after the "
            f"question was asked, {attempt.person} may approve alone."
        )
    return ""


def _roles(asked: tuple[RoleName, ...]) -> str:
    return " or ".join(asked) or "any role"
