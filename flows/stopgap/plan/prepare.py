"""A step's action, rendered and validated strictly, and the names its expressions may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.actions import registry
from stopgap.runbook import expressions
from stopgap.runbook.model import StepId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Action
    from stopgap.incidents.model import StepRecord
    from stopgap.runbook.model import Call, Runbook


def names(
    *,
    parameters: Mapping[str, Any],
    steps: Mapping[StepId, StepRecord],
    incident: Mapping[str, Any],
    run: Mapping[str, Any],
    alert: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what expressions may read: params, steps with status and output, incident, run, and the alert if one asked for the run."""
    ended = {str(step.id): _ended(step, steps) for step in steps.values() if step.status}
    known = {"params": dict(parameters), "steps": ended, "incident": dict(incident), "run": dict(run)}
    return {**known, "alert": dict(alert)} if alert else known


def _ended(step: StepRecord, steps: Mapping[StepId, StepRecord]) -> dict[str, Any]:
    found = {"status": str(step.status), "output": dict(step.output)}
    if step.entries is None:
        return found
    members = [(entry, steps.get(StepId(f"{step.id}[{number}]"))) for number, entry in enumerate(step.entries)]
    items = [{"item": entry, "status": str(each.status), "output": dict(each.output)} for entry, each in members if each]
    return {**found, "items": items}


def action(runbook: Runbook, call: Call, known: Mapping[str, Any]) -> Action:
    """Render a call's arguments and build its action; StopgapError lists every argument that does not fit."""
    arguments = expressions.render(dict(call.arguments), {**known, **call.bound})
    return registry.build(call.uses, arguments, defaults=expressions.render(dict(runbook.defaults), known))


def open_names(call: Call, ended: set[str]) -> tuple[str, ...]:
    """Return the steps on whose end these arguments depend and whose end nobody knows yet."""
    return open_steps(dict(call.arguments), ended)


def open_steps(written: Any, ended: set[str]) -> tuple[str, ...]:
    """Return the steps on whose end a value as it is written depends and whose end nobody knows yet."""
    read = expressions.references(written)
    steps = {name.split(".")[1] for name in read if name.startswith("steps.")}
    return tuple(sorted(steps - ended))
