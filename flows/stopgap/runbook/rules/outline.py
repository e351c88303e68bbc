"""The outline of a runbook that may still be wrong: its steps and calls, found without trusting any shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.document import Document, KeyPath


@dataclass(frozen=True, slots=True)
class StepOutline:
    """One step or group. `earlier` are the ids an expression in it may read; a group's member does not see its fellows."""

    id: str
    path: KeyPath
    data: Mapping[str, Any]
    earlier: frozenset[str]
    is_group: bool = False


@dataclass(frozen=True, slots=True)
class CallOutline:
    """An action and its arguments; `path` is where its `uses` stands."""

    step: StepOutline
    path: KeyPath
    uses: str
    arguments: Mapping[str, Any]
    is_verify: bool = False


def steps(found: Document) -> list[StepOutline]:
    """Return every step in order, a group before its members."""
    outlines: list[StepOutline] = []
    seen: set[str] = set()
    for index, data in enumerate(listed(found.data, "steps")):
        if isinstance(data, dict):
            group = list(_with_members(("steps", index), data, frozenset(seen)))
            outlines += group
            seen |= {step.id for step in group if step.id}
    return outlines


def _with_members(path: KeyPath, data: Mapping[str, Any], earlier: frozenset[str]) -> Iterator[StepOutline]:
    yield StepOutline(_text(data, "id"), path, data, earlier, is_group="parallel" in data)
    for index, member in enumerate(listed(data, "parallel")):
        if isinstance(member, dict):
            yield StepOutline(_text(member, "id"), (*path, "parallel", index), member, earlier)


def calls(found: Document) -> list[CallOutline]:
    """Return every call of an action, verifications included, in order."""
    outlines = []
    for step in steps(found):
        outlines += _call(step, step.path, step.data, is_verify=False) if not step.is_group else []
        verify = step.data.get("verify")
        if isinstance(verify, dict):
            outlines += _call(step, (*step.path, "verify"), verify, is_verify=True)
    return outlines


def _call(step: StepOutline, path: KeyPath, data: Mapping[str, Any], *, is_verify: bool) -> list[CallOutline]:
    uses = _text(data, "uses")
    return [CallOutline(step, path, uses, mapping(data, "with"), is_verify)] if uses else []


def mapping(data: Any, key: str) -> Mapping[str, Any]:
    """Return the mapping under a key, empty when there is none."""
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, dict) else {}


def listed(data: Any, key: str) -> list[Any]:
    """Return the list under a key, empty when there is none."""
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, list) else []


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""
