"""Names that must be unique, and names of other things that must exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.runbook.rules import outline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.document import Document
    from stopgap.problems import Problem
    from stopgap.runbook.known import Known


def check(found: Document, known: Known) -> Iterator[Problem]:  # noqa: ARG001  every rule has this shape
    """Every step has an id of its own."""
    first: dict[str, outline.StepOutline] = {}
    for step in outline.steps(found):
        if step.id and step.id in first:
            where = found.position((*first[step.id].path, "id"))
            sentence = f'the step "{step.id}" is already at {where}'
            yield found.problem((*step.path, "id"), sentence, "duplicate-id", hint="give one of the two another id")
        first.setdefault(step.id, step)
