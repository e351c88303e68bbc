"""A step's action, rendered and validated strictly, and the names its expressions may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.actions import registry
from stopgap.problems import StopgapError
from stopgap.runbook import expressions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Action
    from stopgap.incidents.model import StepRecord
    from stopgap.runbook.model import Call, Runbook, StepId


class NotBuiltError(StopgapError):
    """A part of the runbook format that is checked but not carried out yet."""


def names(
    *, parameters: Mapping[str, Any], steps: Mapping[StepId, StepRecord], incident: Mapping[str, Any], run: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what expressions may read: params, steps with status and output, incident, run."""
    ended = {str(step.id): {"status": str(step.status), "output": dict(step.output)} for step in steps.values() if step.status}
    return {"params": dict(parameters), "steps": ended, "incident": dict(incident), "run": dict(run)}


def action(runbook: Runbook, call: Call, known: Mapping[str, Any]) -> Action:
    """Render a call's arguments and build its action; StopgapError lists every argument that does not fit."""
    arguments = expressions.render(dict(call.arguments), known)
    return registry.build(call.uses, arguments, defaults=expressions.render(dict(runbook.defaults), known))


def refuse_unbuilt(runbook: Runbook) -> None:
    """Refuse by name what is validated but not carried out yet."""
    for step in runbook.steps:
        for key, used in (("parallel", bool(step.parallel)), ("for_each", step.for_each is not None)):
            if used:
                raise NotBuiltError(
                    f'Step "{step.id}" of {runbook.name} uses {key}, which this version of stopgap checks but does not carry out yet.\n'
                    "Write its steps one after the other until then."
                )


def open_names(call: Call, ended: set[str]) -> tuple[str, ...]:
    """Return the steps on whose end these arguments depend and whose end nobody knows yet."""
    read = expressions.references(dict(call.arguments))
    steps = {name.split(".")[1] for name in read if name.startswith("steps.")}
    return tuple(sorted(steps - ended))
