"""Steps with members: a group's members differ and can be decided about together, a list holds each entry once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stopgap import schema
from stopgap.runbook.rules import outline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.document import Document, KeyPath
    from stopgap.problems import Problem
    from stopgap.runbook.known import Known


def check(found: Document, known: Known) -> Iterator[Problem]:  # noqa: ARG001  every rule has this shape
    """Every group and every list that is written out."""
    for step in outline.steps(found):
        yield from _twice(found, step)
        if step.is_group:
            yield from _loops(found, step)
            yield from _twins(found, step)
            yield from _deciders(found, step)


def _twice(found: Document, step: outline.StepOutline) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, entry in enumerate(outline.listed(step.data, "for_each")):
        first = seen.setdefault(_same(entry), index)
        if first != index:
            sentence = f"this entry is the same as number {first + 1}"
            yield found.problem((*step.path, "for_each", index), sentence, "duplicate-entry", hint="name each once")


def _loops(found: Document, group: outline.StepOutline) -> Iterator[Problem]:
    for path, member in _members(group):
        if "for_each" in member:
            hint = "write it as a step of its own, before or after the group"
            yield found.problem((*path, "for_each"), "a member of a group cannot be repeated", "list-in-a-group", hint=hint, at_key=True)


def _twins(found: Document, group: outline.StepOutline) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for path, member in _members(group):
        name, uses = str(member.get("id")), member.get("uses")
        first = seen.setdefault(_same([uses, member.get("with")]), name)
        if isinstance(uses, str) and "with" in member and first != name:
            sentence = f'this is the same action with the same arguments as "{first}", at the same time'
            yield found.problem((*path, "uses"), sentence, "same-member", hint="two members never work on one target")


def _deciders(found: Document, group: outline.StepOutline) -> Iterator[Problem]:
    """One question is asked about all members, so somebody must be entitled to decide about all of them."""
    own = outline.mapping(group.data, "approval")
    asked = [roles for _, member in _members(group) if (roles := _roles(outline.mapping(member, "approval") or own))]
    if len(asked) > 1 and not set.intersection(*asked):
        names = schema.listed(sorted(set.union(*asked)), last="and")
        sentence = f"one question is asked about the whole group, and no role may decide about all its members: {names}"
        yield found.problem(group.path, sentence, "nobody-decides", hint="name a role in all of their approvals")


def _members(group: outline.StepOutline) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    for index, member in enumerate(outline.listed(group.data, "parallel")):
        if isinstance(member, dict):
            yield (*group.path, "parallel", index), member


def _roles(approval: Mapping[str, Any]) -> set[str]:
    return {role for role in outline.listed(approval, "by") if isinstance(role, str)}


def _same(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
