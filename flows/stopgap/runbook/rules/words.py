"""Expressions: they must be closed, be CEL, stand where they are evaluated, and read only what exists by then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap import schema
from stopgap.runbook import cel_tokens, expressions
from stopgap.runbook.model import Status
from stopgap.runbook.rules import outline, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stopgap.document import Document, KeyPath
    from stopgap.problems import Position, Problem
    from stopgap.runbook.cel_tokens import Name
    from stopgap.runbook.known import Known
    from stopgap.runbook.rules.texts import Place

FUNCTIONS = frozenset(
    [
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "timestamp",
        "duration",
        "size",
        "type",
        "dyn",
        "has",
        "matches",
        "contains",
        "startsWith",
        "endsWith",
        "map",
        "filter",
        "all",
        "exists",
        "exists_one",
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    ]
)
_ALERT = ("source", "key", "status", "title", "severity", "started", "ended", "at", "labels", "annotations", "url", "delivery", "raw")
_FIELDS = {"alert": _ALERT, "incident": ("id", "severity"), "run": ("id",)}
_ROOTS = {
    "none": (),
    "alert": ("alert",),
    "defaults": ("params", "alert", "incident", "run"),
    "step": ("params", "steps", "alert", "incident", "run"),
    "item": ("params", "steps", "alert", "incident", "run", "item"),
}
_QUOTE = 'quote the whole value: "${{ ... }}"'


def check(found: Document, known: Known) -> Iterator[Problem]:
    """Every expression of a runbook."""
    every = outline.steps(found)
    places = texts.places(found)
    for place in places:
        yield from _check(found, place, known, every)
    yield from _alert_without_trigger(found, places)
    for path in texts.keys(found.data):
        yield found.problem(path, "an expression is not evaluated in a key", "misplaced-expression", hint=_where_allowed(), at_key=True)
    for path in _conditions(found, every):
        yield from _one_expression(found, path)


def _alert_without_trigger(found: Document, places: list[Place]) -> Iterator[Problem]:
    """A run that a person starts has no alert; without any trigger, all runs are such."""
    if outline.listed(found.data, "triggers"):
        return
    for place in places:
        name = next((name for name in cel_tokens.names(place.found.source) if name.parts[0] == "alert"), None)
        if name is not None and place.scope in {"step", "item", "defaults"}:
            where = _at(found, place, name.starts[0])
            hint = "add a trigger, or make it a parameter"
            yield found.problem_at(
                where, "nothing triggers this runbook, so there is no alert to read", "no-alert", hint=hint, severity="warning"
            )
            return


def _conditions(found: Document, every: list[outline.StepOutline]) -> Iterator[KeyPath]:
    for step in every:
        yield from ((*step.path, key) for key in ("when", "for_each") if key in step.data)
    for index, trigger in enumerate(outline.listed(found.data, "triggers")):
        if isinstance(trigger, dict) and "when" in trigger:
            yield ("triggers", index, "when")


def _one_expression(found: Document, path: KeyPath) -> Iterator[Problem]:
    """What decides must be one expression: two, or one with text beside it, would become a text."""
    text = found.node(path).data
    if (
        isinstance(text, str)
        and text.strip().startswith("${{")
        and text.strip().endswith("}}")
        and expressions.whole_expression(text) is None
    ):
        hint = 'put it all into one: "${{ a && b }}"'
        yield found.problem(path, f'"{path[-1]}" is more than one expression', "not-an-expression", hint=hint)


def _check(found: Document, place: Place, known: Known, every: list[outline.StepOutline]) -> Iterator[Problem]:
    where = texts.position(found, place)
    is_plain = found.node(place.path).is_plain
    if not place.found.is_closed:
        yield found.problem_at(where, "this ${{ is not closed by }}", "unclosed-expression", hint=_QUOTE if is_plain else "end it with }}")
        return
    if place.scope == "none":
        yield found.problem_at(where, "an expression is not evaluated here", "misplaced-expression", hint=_where_allowed())
        return
    if is_plain:
        hint = f"{_QUOTE}, or it breaks as soon as it holds a colon or a #"
        yield found.problem_at(where, "this ${{ }} is not in quotes", "unquoted-expression", hint=hint, severity="warning")
    try:
        expressions.compiled(place.found.source)
    except expressions.ExpressionSyntaxError as error:
        at = texts.position(found, place, 2 + error.column)
        yield found.problem_at(at, str(error), "bad-expression", hint="expressions are CEL: docs/runbooks.md shows its words")
        return
    yield from _names(found, place, known, every)


def _where_allowed() -> str:
    return "expressions belong in with, when, for_each, defaults and a trigger's when and parameters"


def _names(found: Document, place: Place, known: Known, every: list[outline.StepOutline]) -> Iterator[Problem]:
    for call in cel_tokens.functions(place.found.source):
        if call.text not in FUNCTIONS:
            hint = schema.nearest(call.text, FUNCTIONS) or f"there are {schema.listed(sorted(FUNCTIONS), last='and')}"
            at = texts.position(found, place, 3 + call.start)
            yield found.problem_at(at, f'there is no function "{call.text}"', "unknown-function", hint=hint)
    for name in cel_tokens.names(place.found.source):
        for part, sentence, code, hint in _mistakes(found, place, name, known, every):
            start = name.starts[part] if part < len(name.starts) else part
            yield found.problem_at(_at(found, place, start), sentence, code, hint=hint)


def _at(found: Document, place: Place, start: int) -> Position:
    return texts.position(found, place, 3 + start)


def _mistakes(
    found: Document, place: Place, name: Name, known: Known, every: list[outline.StepOutline]
) -> Iterator[tuple[int, str, str, str]]:
    """Yield the part of the name that is wrong, a sentence, a code and a hint."""
    root, allowed = name.parts[0], _ROOTS[place.scope]
    if root == "item" and root not in allowed and place.scope == "step":
        yield 0, '"item" is only known in the with of a step that has for_each', "item-outside-loop", ""
    elif root not in allowed:
        hint = schema.nearest(root, allowed) or f"an expression here reads {schema.listed(allowed, last='and')}"
        yield 0, f'there is nothing named "{root}" here', "unknown-name", hint
    elif root == "params":
        yield from _parameter(found, name)
    elif root == "steps" and place.step is not None:
        yield from _step(place.step, name, known, every)
    elif root in _FIELDS:
        yield from _field(root, name)


def _parameter(found: Document, name: Name) -> Iterator[tuple[int, str, str, str]]:
    there = outline.mapping(found.data, "parameters")
    if len(name.parts) > 1 and name.parts[1] not in there:
        hint = schema.nearest(name.parts[1], there) or _there_are("the parameters are", there, "there are no parameters")
        yield 1, f'there is no parameter "{name.parts[1]}"', "unknown-parameter", hint


def _field(root: str, name: Name) -> Iterator[tuple[int, str, str, str]]:
    fields = _FIELDS[root]
    if len(name.parts) > 1 and name.parts[1] not in fields:
        hint = schema.nearest(name.parts[1], fields) or f"{root} has {schema.listed(fields, last='and')}"
        yield 1, f'{root} has no "{name.parts[1]}"', "unknown-field", hint


def _step(step: outline.StepOutline, name: Name, known: Known, every: list[outline.StepOutline]) -> Iterator[tuple[int, str, str, str]]:
    if len(name.parts) < 2:  # noqa: PLR2004  steps and an id
        return
    wanted = name.parts[1]
    there = {one.id: one for one in reversed(every) if one.id}
    if wanted not in there:
        hint = schema.nearest(wanted, there) or _there_are("the steps before are", sorted(step.earlier), "no step comes before")
        yield 1, f'there is no step "{wanted}"', "unknown-step", hint
    elif wanted not in step.earlier:
        itself = wanted == step.id
        sentence = f'the step "{wanted}" cannot read itself' if itself else f'the step "{wanted}" has not ended by then'
        earlier = sorted(step.earlier)
        yield 1, sentence, "forward-reference", _there_are("the steps before are", earlier, "no step comes before")
    else:
        yield from _step_field(there[wanted], name, known)


def _step_field(step: outline.StepOutline, name: Name, known: Known) -> Iterator[tuple[int, str, str, str]]:
    field = name.parts[2] if len(name.parts) > 2 else ""  # noqa: PLR2004  steps, an id and a field
    if field == "status":
        for text, start in name.compared:
            if text not in set(Status):
                hint = schema.nearest(text, Status) or f"a step is {schema.listed(Status)}"
                yield start, f'no step is ever "{text}"', "unknown-status", hint
    elif field == "output":
        yield from _output(step, name, known)
    elif field and not (field == "items" and "for_each" in step.data):
        fields = ("status", "output", *(["items"] if "for_each" in step.data else []))
        hint = schema.nearest(field, fields) or f"a step has {schema.listed(fields, last='and')}"
        yield 2, f'a step has no "{field}"', "unknown-field", hint


def _output(step: outline.StepOutline, name: Name, known: Known) -> Iterator[tuple[int, str, str, str]]:
    action = (known.actions or {}).get(str(step.data.get("uses")))
    if action is None or action.fault or len(name.parts) < 4 or "for_each" in step.data:  # noqa: PLR2004  steps, an id, output and a key
        return
    if name.parts[3] not in action.outputs:
        hint = schema.nearest(name.parts[3], action.outputs) or _there_are("it has", action.outputs, "it has no output")
        yield 3, f'{action.name} has no output "{name.parts[3]}"', "unknown-output", hint


def _there_are(words: str, names: Iterable[str], nothing: str) -> str:
    every = list(names)
    return f"{words} {schema.listed(every, last='and')}" if every else nothing
