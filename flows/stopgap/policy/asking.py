"""The part of policy.yaml about gates: what is asked of whom, at which severity, and the mistakes in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap import schema
from stopgap.clock import format_duration, parse_duration
from stopgap.policy.model import ApprovalRules, BreakGlass, Escalation, PersonId, RoleName, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.document import Document, KeyPath
    from stopgap.problems import Problem


def rules(value: Mapping[str, Any]) -> ApprovalRules:
    """Return what holds for every gate, from `approvals`."""
    plain = ApprovalRules()
    return ApprovalRules(
        asks=value.get("asks", plain.asks),
        high_risk=tuple(map(RoleName, value["high_risk"])) if "high_risk" in value else plain.high_risk,
        approvers=value.get("approvers", plain.approvers),
        expires=parse_duration(value["expires"]) if "expires" in value else plain.expires,
        escalate=tuple(Escalation(after=parse_duration(each["after"]), to=RoleName(each["to"])) for each in value.get("escalate", ())),
        allow_self=value.get("allow_self", plain.allow_self),
        require_code=value.get("require_code", plain.require_code),
        break_glass=_glass(value["break_glass"]) if "break_glass" in value else None,
    )


def by_severity(value: Mapping[str, Any]) -> Mapping[Severity, ApprovalRules]:
    """Return what holds at each severity that has rules of its own; what it does not say is as for every gate."""
    return {Severity(name): rules({**value, **own}) for name, own in value.get("by_severity", {}).items()}


def named_people(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield everybody named here."""
    for path, value in _all_rules(data):
        for index, person in enumerate(value.get("break_glass", {}).get("people", ())):
            yield (*path, "break_glass", "people", index), person


def check(found: Document) -> Iterator[Problem]:
    """Yield the roles that are not there, the gates that too few people could open, and the escalations that come too late."""
    data = found.data
    for path, value in _all_rules(data):
        whole = {**data.get("approvals", {}), **value}
        for where, role in _named_roles(path, value):
            yield from _role(found, where, role)
        if {"approvers", "high_risk"} & value.keys():
            yield from _enough(found, path, whole)
        yield from _in_time(found, path, value, whole)


def _glass(value: Mapping[str, Any]) -> BreakGlass:
    return BreakGlass(people=tuple(map(PersonId, value["people"])), after=parse_duration(value["after"]))


def _all_rules(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    approvals = data.get("approvals", {})
    yield ("approvals",), approvals
    for severity, value in approvals.get("by_severity", {}).items():
        yield ("approvals", "by_severity", severity), value


def _named_roles(path: KeyPath, value: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    for index, role in enumerate(value.get("high_risk", ())):
        yield (*path, "high_risk", index), role
    for index, each in enumerate(value.get("escalate", ())):
        yield (*path, "escalate", index, "to"), each["to"]


def _role(found: Document, path: KeyPath, role: str) -> Iterator[Problem]:
    roles = found.data["roles"]
    if role not in roles:
        hint = schema.nearest(role, roles) or f"the roles are {schema.listed(roles, last='and')}"
        yield found.problem(path, f'there is no role "{role}"', "unknown-role", hint=hint)
    elif "escalate" in path and not any(roles[role].values()):
        yield found.problem(path, f'nobody holds the role "{role}"', "role-not-held", hint="name a holder or a deputy")


def _enough(found: Document, path: KeyPath, whole: Mapping[str, Any]) -> Iterator[Problem]:
    roles = found.data["roles"]
    asked = [role for role in whole.get("high_risk", ApprovalRules().high_risk) if role in roles]
    people = {person for role in asked for people in roles[role].values() for person in people}
    wanted = whole.get("approvers", 1)
    if people and wanted > len(people):
        who = "only one person holds" if len(people) == 1 else f"only {len(people)} people hold"
        where = (*path, "approvers" if "approvers" in found.node(path).data else "high_risk")
        sentence = f"{wanted} people must approve, but {who} {schema.listed(asked, last='and')}"
        yield found.problem(where, sentence, "too-few-people", hint="ask more roles, or fewer people")


def _in_time(found: Document, path: KeyPath, value: Mapping[str, Any], whole: Mapping[str, Any]) -> Iterator[Problem]:
    """Whoever may answer only later must still find the question open; a shorter `expires` may spoil what was said for every gate."""
    expires = parse_duration(whole["expires"]) if "expires" in whole else ApprovalRules().expires
    late: list[tuple[KeyPath, str]] = [
        (("escalate", index, "after"), each["after"]) for index, each in enumerate(whole.get("escalate", ()))
    ]
    late += [(("break_glass", "after"), whole["break_glass"]["after"])] if "break_glass" in whole else []
    for where, after in late:
        if parse_duration(after) >= expires and (where[0] in value or "expires" in value):
            sentence = f"the question has expired after {format_duration(expires)}, before anybody else may answer"
            place = (*path, *where) if where[0] in value else (*path, "expires")
            yield found.problem(place, sentence, "escalates-too-late", hint="ask them earlier, or let questions expire later")
