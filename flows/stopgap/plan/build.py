"""Runbook + parameters + live state -> Plan. Reads only."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stopgap.actions.contract import Context
from stopgap.plan import gates, limits, prepare
from stopgap.plan.model import Plan, PlannedStep
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Action
    from stopgap.clock import Clock
    from stopgap.policy.model import Policy, Severity
    from stopgap.runbook.model import Runbook, Step

READING = timedelta(seconds=30)  # the longest a plan waits for one system


def plan(runbook: Runbook, parameters: Mapping[str, Any], *, policy: Policy, clock: Clock) -> Plan:
    """Plan every step against the live state, each branch, whatever its condition."""
    known = prepare.names(
        parameters=parameters, steps={}, incident={"id": "INC-0", "severity": str(runbook.severity)}, run={"id": "INC-0.1"}
    )
    context = Context(policy=policy, clock=clock, deadline=clock.now() + READING, mark="plan", mode="dry")
    steps = tuple(_planned(runbook, step, known, context) for step in runbook.steps)
    return Plan(runbook=runbook.name, parameters=dict(parameters), steps=steps)


def _planned(runbook: Runbook, step: Step, known: Mapping[str, Any], context: Context) -> PlannedStep:
    if step.call is None or step.for_each is not None:
        return _bare(step, refused="parallel and for_each are checked but not carried out yet")
    waits_for = prepare.open_names(step.call, set())
    if waits_for:
        return _bare(step, not_planned=f"its arguments depend on how {', '.join(waits_for)} ends")
    try:
        action = prepare.action(runbook, step.call, known)
    except StopgapError as error:
        return _bare(step, refused=str(error))
    return _looked_at(step, action, context, severity=runbook.severity)


def _looked_at(step: Step, action: Action, context: Context, *, severity: Severity) -> PlannedStep:
    change, refused = None, ""
    context = Context(
        policy=context.policy, clock=context.clock, deadline=context.clock.now() + READING, mark=f"plan/{step.id}", mode=context.mode
    )
    try:
        change = action.plan(context)
        limits.check(context.policy, action, change, step=step.id, moment=limits.Moment(now=context.clock.now()))
    except StopgapError as error:
        change, refused = None, str(error)
    return PlannedStep(
        id=step.id,
        name=step.name,
        uses=action.name,
        arguments=dict(step.call.arguments) if step.call else {},
        effect=action.effect,
        undoes=action.undoes,
        when=step.when or "",
        change=change,
        refused=refused,
        targets=action.targets(),
        asks=gates.asks(step, action, context.policy, severity=severity),
        verify=step.verify.uses if step.verify else "",
    )


def _bare(step: Step, *, not_planned: str = "", refused: str = "") -> PlannedStep:
    return PlannedStep(
        id=step.id,
        name=step.name,
        uses=step.call.uses if step.call else "parallel",
        arguments=dict(step.call.arguments) if step.call else {},
        effect="",
        undoes="",
        when=step.when or "",
        not_planned=not_planned,
        refused=refused,
        verify=step.verify.uses if step.verify else "",
    )
