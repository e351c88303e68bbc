"""The members of a step: those of a `parallel` group, and one for each entry of a `for_each` list."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stopgap.problems import StopgapError
from stopgap.runbook import expressions
from stopgap.runbook.model import StepId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stopgap.actions.contract import Action
    from stopgap.runbook.model import Call, Step

MOST = 100  # entries of one list: whoever approves them reads each
_NAME = 40  # characters of an entry in the name of its member


class ListError(StopgapError):
    """What `for_each` gives cannot be worked through."""


class SharedTargetError(StopgapError):
    """Two members would work on one target at once."""


def of_group(step: Step) -> tuple[Step, ...]:
    """Return a group's members; one without an approval of its own has the group's."""
    return tuple(replace(member, approval=member.approval or step.approval) for member in step.parallel)


def of_list(step: Step, entries: Sequence[Any]) -> tuple[Step, ...]:
    """Return one member for each entry: `restart[0]`, in the list's order."""
    return tuple(_member(step, number, entry) for number, entry in enumerate(entries))


def entries(step: Step, names: Mapping[str, Any]) -> tuple[Any, ...]:
    """Render a step's list. ListError when it is none, is too long, or holds an entry twice."""
    found = expressions.render(step.for_each.items, names) if step.for_each else []
    if not isinstance(found, list):
        raise ListError(f'The for_each of step "{step.id}" gives {_short(found)}, which is no list.')
    if len(found) > MOST:
        raise ListError(
            f'The for_each of step "{step.id}" gives {len(found)} entries, and {MOST} are the most.\n'
            "Whoever approves them reads each. Narrow the list down, or start the runbook several times."
        )
    seen: dict[str, int] = {}
    for number, entry in enumerate(found):
        first = seen.setdefault(json.dumps(entry, sort_keys=True), number)
        if first != number:
            raise ListError(f'The for_each of step "{step.id}" gives {_short(entry)} twice: as entry {first} and as entry {number}.')
    return tuple(found)


def refuse_shared(actions: Mapping[StepId, Action]) -> None:
    """Raise SharedTargetError when two of these would change the same target."""
    taken: dict[str, StepId] = {}
    for member, action in actions.items():
        for target in sorted(action.targets()) if action.effect == "changes" else ():
            first = taken.setdefault(target, member)
            if first != member:
                raise SharedTargetError(
                    f'"{first}" and "{member}" would both change {target}, and nobody could tell their effects apart.\n'
                    "Write them as steps one after the other."
                )


def _member(step: Step, number: int, entry: Any) -> Step:
    def bound(call: Call | None) -> Call | None:
        return replace(call, bound={"item": entry}) if call else None

    return replace(
        step,
        id=StepId(f"{step.id}[{number}]"),
        name=f"{step.name} ({_short(entry)})",
        call=bound(step.call),
        verify=bound(step.verify),
        when=None,
        for_each=None,
    )


def _short(entry: Any) -> str:
    shown = entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False)
    return shown if len(shown) <= _NAME else f"{shown[: _NAME - 3]}..."
