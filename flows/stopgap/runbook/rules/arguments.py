"""Actions must exist, and their arguments must fit; a value with an expression in it is checked when it is rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap import schema
from stopgap.runbook import expressions
from stopgap.runbook.rules import outline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.document import Document, KeyPath
    from stopgap.problems import Problem
    from stopgap.runbook.known import ActionSchema, Known

PLACES = ("cluster", "namespace", "account", "region")  # an action has no default for these
_STRUCTURAL = frozenset({"additionalProperties", "unevaluatedProperties", "required", "propertyNames"})


def check(found: Document, known: Known) -> Iterator[Problem]:
    """Every action's name and arguments."""
    if known.actions is None:
        return
    for call in outline.calls(found):
        action = known.actions.get(call.uses)
        if action is None:
            hint = schema.nearest(call.uses, known.actions) or f"the actions are {schema.listed(sorted(known.actions), last='and')}"
            yield found.problem((*call.path, "uses"), f'there is no action "{call.uses}"', "unknown-action", hint=hint)
        elif action.fault:
            yield found.problem((*call.path, "uses"), " ".join(action.fault.split()), "broken-action", hint="see  stopgap actions list")
        else:
            yield from _call(found, call, action)


def merged(found: Document, call: outline.CallOutline, action: ActionSchema) -> Mapping[str, Any]:
    """Return a call's arguments with the runbook's defaults where the action has such a field."""
    defaults = {key: value for key, value in outline.mapping(found.data, "defaults").items() if key in action.fields}
    return {**defaults, **call.arguments}


def _call(found: Document, call: outline.CallOutline, action: ActionSchema) -> Iterator[Problem]:
    if call.is_verify and not action.only_reads:
        hint = "verify with an action that reads, like prometheus.wait"
        yield found.problem((*call.path, "uses"), f"{action.name} changes something, so it cannot verify", "verify-changes", hint=hint)
    values = merged(found, call, action)
    for error in action.validator.iter_errors(values):
        if error.kind.name == "required" and not list(error.instance_path):
            yield _missing(found, call, action, str(error.kind.as_dict()["property"]))
        elif error.kind.name in _STRUCTURAL or not _holds_expression(error.instance):
            yield from schema.problems_of(found, _base(call, error.instance_path, defaults_only=call.arguments), action.schema, [error])


def _base(call: outline.CallOutline, path: list[str | int], *, defaults_only: Mapping[str, Any]) -> KeyPath:
    from_defaults = bool(path) and path[0] not in defaults_only
    return ("defaults",) if from_defaults else (*call.path, "with")


def _missing(found: Document, call: outline.CallOutline, action: ActionSchema, key: str) -> Problem:
    path = (*call.path, "with" if "with" in found.node(call.path).keys else "uses")
    if key in PLACES:
        hint = f'write "{key}: ..." here or under the runbook\'s "defaults"'
        return found.problem(path, f"{action.name} needs a {key}, and none is given", "missing-place", hint=hint, at_key=True)
    meaning = str(action.fields.get(key, {}).get("description", "")).split(". ")[0].rstrip(".")
    hint = f"{key}: {meaning}" if meaning else ""
    return found.problem(path, f'{action.name} needs "{key}"', "missing-argument", hint=hint, at_key=True)


def _holds_expression(value: Any) -> bool:
    if isinstance(value, str):
        return bool(expressions.find(value))
    if isinstance(value, dict):
        return any(_holds_expression(item) for item in value.values())
    return isinstance(value, list) and any(map(_holds_expression, value))
