"""People and roles: who owns a runbook, and who is asked at its gates, must be somebody in policy.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap import schema
from stopgap.clock import parse_duration
from stopgap.policy.model import PersonId, RoleName
from stopgap.runbook.rules import outline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from stopgap.document import Document, KeyPath
    from stopgap.policy.model import Policy
    from stopgap.problems import Problem
    from stopgap.runbook.known import Known


def check(found: Document, known: Known) -> Iterator[Problem]:
    """The owner, and every approval."""
    if known.policy is not None:
        yield from _owner(found, known.policy)
    for step in outline.steps(found):
        approval = outline.mapping(step.data, "approval")
        path = (*step.path, "approval")
        yield from _escalates_in_time(found, path, approval)
        if known.policy is not None:
            yield from _roles(found, path, approval, known.policy)


def _owner(found: Document, policy: Policy) -> Iterator[Problem]:
    owner = found.data.get("owner") if isinstance(found.data, dict) else None
    if isinstance(owner, str) and owner and "${{" not in owner and owner not in policy.teams and PersonId(owner) not in policy.people:
        names = [*policy.teams, *policy.people]
        hint = schema.nearest(owner, names) or f"policy.yaml names {schema.listed(names, last='and')}"
        yield found.problem(("owner",), f'"{owner}" is no team and nobody in policy.yaml', "unknown-owner", hint=hint)


def _roles(found: Document, path: KeyPath, approval: Mapping[str, Any], policy: Policy) -> Iterator[Problem]:
    asked = approval.get("by")
    roles = [role for role in asked if isinstance(role, str)] if isinstance(asked, list) else []
    to = outline.mapping(approval, "escalate").get("to")
    named = [((*path, "by", index), role) for index, role in enumerate(roles)]
    named += [((*path, "escalate", "to"), to)] if isinstance(to, str) else []
    for where, role in named:
        yield from _role(found, where, role, policy)
    yield from _enough(found, path, approval, {person for role in roles for person in policy.holders(RoleName(role))})


def _role(found: Document, path: KeyPath, role: str, policy: Policy) -> Iterator[Problem]:
    known = policy.roles.get(RoleName(role))
    if known is None:
        hint = schema.nearest(role, policy.roles) or f"policy.yaml names {schema.listed(policy.roles, last='and')}"
        yield found.problem(path, f'policy.yaml names no role "{role}"', "unknown-role", hint=hint)
    elif not known.people:
        yield found.problem(path, f'nobody in policy.yaml holds the role "{role}"', "role-not-held", hint="name a holder or a deputy there")


def _enough(found: Document, path: KeyPath, approval: Mapping[str, Any], people: set[PersonId]) -> Iterator[Problem]:
    wanted = approval.get("approvers", 1)
    if isinstance(wanted, int) and people and wanted > len(people):
        who = "only one person holds these roles" if len(people) == 1 else f"only {len(people)} people hold these roles"
        yield found.problem(
            (*path, "approvers"), f"{wanted} people must approve, but {who}", "too-few-people", hint="ask more roles, or fewer people"
        )


def _escalates_in_time(found: Document, path: KeyPath, approval: Mapping[str, Any]) -> Iterator[Problem]:
    after, expires = _duration(outline.mapping(approval, "escalate").get("after")), _duration(approval.get("expires"))
    if after is not None and expires is not None and after >= expires:
        sentence = f"the question has expired after {approval['expires']}, before anybody else is asked"
        yield found.problem((*path, "escalate", "after"), sentence, "escalates-too-late", hint="escalate earlier, or expire later")


def _duration(value: Any) -> timedelta | None:
    try:
        return parse_duration(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
