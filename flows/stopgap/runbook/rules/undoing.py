"""A rollback can only take back what has a way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.runbook.rules import outline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.document import Document
    from stopgap.problems import Problem
    from stopgap.runbook.known import Known


def check(found: Document, known: Known) -> Iterator[Problem]:
    """`on_failure: rollback` on an action that cannot undo is a mistake; an earlier step that stays as it is, a warning."""
    actions = known.actions or {}
    stuck: list[outline.StepOutline] = []
    for step in outline.steps(found):
        action = actions.get(str(step.data.get("uses")))
        rolls_back = step.data.get("on_failure") == "rollback"
        cannot_undo = action is not None and action.cannot_undo
        if rolls_back and cannot_undo and action is not None:
            sentence = f"{action.name} cannot be taken back, so there is no rollback of this step"
            yield found.problem((*step.path, "on_failure"), sentence, "cannot-undo", hint="write stop or continue")
        elif rolls_back and stuck:
            names = ", ".join(f'"{one.id}"' for one in stuck)
            sentence = f"the rollback will leave {names} as it is: the action cannot be taken back"
            yield found.warning((*step.path, "on_failure"), sentence, "cannot-undo")
        stuck += [step] if cannot_undo else []
