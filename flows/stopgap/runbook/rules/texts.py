"""Every text of a runbook that may hold an expression, and where in the file a word of it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stopgap.problems import Position
from stopgap.runbook import expressions
from stopgap.runbook.rules import outline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.document import Document, KeyPath, Node

Scope = Literal["step", "item", "defaults", "alert", "none"]


@dataclass(frozen=True, slots=True)
class Place:
    """One `${{ }}`: the text it stands in, and what it may read. `earlier` are the steps it may read."""

    path: KeyPath
    text: str
    found: expressions.Found
    scope: Scope
    step: outline.StepOutline | None = None


def places(found: Document) -> list[Place]:
    """Return every expression of a runbook, in no order that matters."""
    by_path = {step.path: step for step in outline.steps(found)}
    return [
        Place(path, text, one, *_scope(path, by_path))
        for path, text in _texts(found.data, ())
        if "${{" in text
        for one in expressions.find(text)
    ]


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def keys(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Return the path of every key that holds an expression; none is evaluated there."""
    if isinstance(value, dict):
        for key, item in value.items():
            if "${{" in key:
                yield (*path, key)
            yield from keys(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from keys(item, (*path, index))


def _scope(path: KeyPath, by_path: dict[KeyPath, outline.StepOutline]) -> tuple[Scope, outline.StepOutline | None]:
    if path[:1] == ("defaults",):
        return "defaults", None
    if path[:1] == ("triggers",) and path[2:3] in {("when",), ("parameters",)}:
        return "alert", None
    step = by_path.get(path[:4]) or by_path.get(path[:2])
    if step is None:
        return "none", None
    rest = path[len(step.path) :]
    if rest[:1] == ("with",) or rest[:2] == ("verify", "with"):
        return ("item" if "for_each" in step.data else "step"), step
    return ("step" if rest[:1] in {("when",), ("for_each",)} else "none"), step


def position(found: Document, place: Place, offset: int = 0) -> Position:
    """Where a character of an expression stands; `offset` counts from its `${{`. The text's beginning when escapes hide it."""
    node = found.node(place.path)
    text = place.text[place.found.start : place.found.end]
    for number in range(node.line, node.last_line + 1):
        first = node.column - 1 if number == node.line else 0
        at = found.lines[number - 1].find(text, first) if number <= len(found.lines) else -1
        if at >= 0:
            return Position(number, at + 1 + offset)
    return _start_of(found, node)


def _start_of(found: Document, node: Node) -> Position:
    for number in range(node.line, min(node.last_line, len(found.lines)) + 1):
        at = found.lines[number - 1].find("${{", node.column - 1 if number == node.line else 0)
        if at >= 0:
            return Position(number, at + 1)
    return node.position
