"""A checked document into a `Runbook`: only reshaping, every mistake was found before."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from stopgap.clock import parse_duration
from stopgap.policy.model import Escalation, RoleName, Severity
from stopgap.problems import StopgapError
from stopgap.runbook.expressions import whole_expression
from stopgap.runbook.model import ApprovalRequest, Call, Expression, Loop, Parameter, Retry, Runbook, Step, StepId, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from stopgap.document import Document, KeyPath


def build(found: Document) -> Runbook:
    """Return the runbook of a document without mistakes."""
    data = found.data
    return Runbook(
        name=data["name"],
        title=data["title"],
        description=data["description"],
        owner=data["owner"],
        severity=Severity(data["severity"]),
        path=found.path,
        digest=found.digest,
        steps=tuple(_step(found, ("steps", index), value) for index, value in enumerate(data["steps"])),
        reviewed=date.fromisoformat(data["reviewed"]) if "reviewed" in data else None,
        review_every=_duration(data, "review_every"),
        archived=data.get("archived", False),
        superseded_by=data.get("superseded_by"),
        defaults=dict(data.get("defaults", {})),
        parameters={name: _parameter(name, value) for name, value in data.get("parameters", {}).items()},
        triggers=tuple(_trigger(value) for value in data.get("triggers", [])),
    )


def _step(found: Document, path: KeyPath, value: Mapping[str, Any]) -> Step:
    return Step(
        id=StepId(value["id"]),
        name=value.get("name") or value["id"].replace("_", " ").capitalize(),
        position=found.position(path),
        call=_call(found, path, value) if "uses" in value else None,
        when=_expression(value),
        timeout=_duration(value, "timeout"),
        retry=_retry(value.get("retry")),
        verify=_call(found, (*path, "verify"), value["verify"]) if "verify" in value else None,
        verify_timeout=_duration(value.get("verify", {}), "timeout"),
        approval=_approval(value.get("approval")),
        on_failure=value.get("on_failure", "stop"),
        for_each=Loop(items=value["for_each"], max_in_flight=value.get("max_in_flight", 1)) if "for_each" in value else None,
        parallel=tuple(_step(found, (*path, "parallel", index), member) for index, member in enumerate(value.get("parallel", []))),
    )


def _call(found: Document, path: KeyPath, value: Mapping[str, Any]) -> Call:
    return Call(uses=value["uses"], arguments=value.get("with", {}), position=found.key_position((*path, "uses")))


def _retry(value: Mapping[str, Any] | None) -> Retry | None:
    return Retry(attempts=value["attempts"], delay=parse_duration(value.get("delay", "5s"))) if value else None


def _approval(value: Mapping[str, Any] | None) -> ApprovalRequest | None:
    if value is None:
        return None
    escalate = value.get("escalate")
    return ApprovalRequest(
        by=tuple(map(RoleName, value["by"])),
        approvers=value.get("approvers", 1),
        expires=_duration(value, "expires"),
        escalate=Escalation(after=parse_duration(escalate["after"]), to=RoleName(escalate["to"])) if escalate else None,
    )


def _parameter(name: str, value: Mapping[str, Any]) -> Parameter:
    schema = {key: item for key, item in value.items() if key != "secret"}
    return Parameter(name=name, schema=schema, secret=value.get("secret", False))


def _trigger(value: Mapping[str, Any]) -> Trigger:
    return Trigger(
        source=value["source"],
        match=dict(value.get("match", {})),
        when=_expression(value),
        parameters=dict(value.get("parameters", {})),
        mode=value.get("mode", "start"),
        cooldown=_duration(value, "cooldown"),
        expires=_duration(value, "expires"),
    )


def _duration(value: Mapping[str, Any], key: str) -> timedelta | None:
    return parse_duration(value[key]) if key in value else None


def _expression(value: Mapping[str, Any]) -> Expression | None:
    if "when" not in value:
        return None
    found = whole_expression(value["when"])
    if found is None:  # a condition that were lost would let its step always run
        raise StopgapError(f"The condition {value['when']} is not one expression.")
    return Expression(found)
