"""A condition that is meant for "the step before did not help" must not also hold because that step was skipped.

Decided by trying: every way the earlier steps can end is put into the conditions, and a step whose condition does not hold is skipped.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from stopgap.runbook import cel_tokens, expressions
from stopgap.runbook.model import Status
from stopgap.runbook.rules import outline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stopgap.document import Document
    from stopgap.problems import Problem
    from stopgap.runbook.known import Known

MOST_STEPS = 5  # beyond that there are too many ways to try


@dataclass(frozen=True, slots=True)
class _Asked:
    """A step's condition, and how it can end when the run goes on after it."""

    condition: str | None
    endings: tuple[Status, ...]


def check(found: Document, known: Known) -> Iterator[Problem]:  # noqa: ARG001  every rule has this shape
    """Every condition that reads only how earlier steps ended."""
    steps = outline.steps(found)
    asked = {step.id: _asked(step) for step in steps if step.id}
    for step in steps:
        condition = _asked(step).condition
        read = _needed(condition, asked, step.earlier) if condition is not None else None
        skipped = _also_skipped(condition, read, asked) if condition is not None and read is not None else None
        if skipped is not None:
            sentence = f'this also holds when "{skipped}" was skipped'
            hint = f"if that is not meant, add: && steps.{skipped}.status != 'skipped'"
            yield found.warning((*step.path, "when"), sentence, "also-when-skipped", hint=hint)


def _asked(step: outline.StepOutline) -> _Asked:
    when = step.data.get("when")
    condition = expressions.whole_expression(when) if isinstance(when, str) else None
    ends = (Status.DONE, Status.FAILED) if step.data.get("on_failure") == "continue" else (Status.DONE,)
    may_be_skipped = condition is not None and _steps_read(condition) is None
    return _Asked(condition, (*ends, Status.SKIPPED) if may_be_skipped else ends)


@lru_cache(maxsize=1024)
def _steps_read(condition: str) -> frozenset[str] | None:
    """Return the steps whose status a condition reads; None when it reads anything else."""
    names = cel_tokens.names(condition)
    if not names or any(len(name.parts) != 3 or name.parts[0] != "steps" or name.parts[2] != "status" for name in names):  # noqa: PLR2004  steps.id.status
        return None
    return frozenset(name.parts[1] for name in names)


def _needed(condition: str, asked: Mapping[str, _Asked], earlier: frozenset[str]) -> list[str] | None:
    """Return the steps to try, in the order of the page; None when the condition cannot be decided by trying."""
    read, needed = _steps_read(condition), set[str]()
    if read is None:
        return None
    waiting = set(read)
    while waiting:
        step = waiting.pop()
        if step not in earlier:
            return None
        needed.add(step)
        waiting |= (_steps_read(asked[step].condition or "") or frozenset()) - needed
    return [step for step in asked if step in needed] if len(needed) <= MOST_STEPS else None


def _also_skipped(condition: str, steps: Sequence[str], asked: Mapping[str, _Asked]) -> str | None:
    """Return a step whose being skipped is why the condition holds, in some way the run can go."""
    for endings in itertools.product(*(asked[step].endings for step in steps)):
        statuses = dict(zip(steps, endings, strict=True))
        _skip(statuses, asked)
        if _holds(condition, statuses):
            for step in sorted(_thoughtless(condition)):
                if statuses[step] == Status.SKIPPED and not _holds(condition, {**statuses, step: Status.DONE}):
                    return step
    return None


def _thoughtless(condition: str) -> set[str]:
    """Return the steps a condition reads without a word about their being skipped."""
    names = cel_tokens.names(condition)
    named = {name.parts[1] for name in names if any(text == Status.SKIPPED for text, _ in name.compared)}
    return {name.parts[1] for name in names} - named


def _skip(statuses: dict[str, Status], asked: Mapping[str, _Asked]) -> None:
    """Skip every step whose condition does not hold, in the order of the page."""
    for step in statuses:
        condition = asked[step].condition
        if condition is not None and _steps_read(condition) is not None and not _holds(condition, statuses):
            statuses[step] = Status.SKIPPED


def _holds(condition: str, statuses: Mapping[str, Status]) -> bool:
    names: dict[str, Any] = {"steps": {step: {"status": str(status)} for step, status in statuses.items()}}
    try:
        return expressions.evaluate(condition, names) is True
    except expressions.ExpressionError:
        return False
