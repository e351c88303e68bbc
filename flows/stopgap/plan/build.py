"""Runbook + parameters + live state -> Plan. Reads only."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stopgap.actions.contract import Context
from stopgap.plan import gates, limits, members, prepare, together
from stopgap.plan.model import Plan, PlannedStep
from stopgap.plan.nested import Previews
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stopgap.actions.contract import Action
    from stopgap.clock import Clock
    from stopgap.policy.model import Policy, Severity
    from stopgap.runbook.model import Runbook, Step, StepId

READING = timedelta(seconds=30)  # the longest a plan waits for one system


def plan(runbook: Runbook, parameters: Mapping[str, Any], *, policy: Policy, clock: Clock, above: tuple[str, ...] = ()) -> Plan:
    """Plan every step against the live state, each branch, whatever its condition. `above` are the runbooks by whose steps it would run."""
    known = prepare.names(
        parameters=parameters, steps={}, incident={"id": "INC-0", "severity": str(runbook.severity)}, run={"id": "INC-0.1"}
    )
    context = Context(
        policy=policy,
        clock=clock,
        deadline=clock.now() + READING,
        mark="plan",
        mode="dry",
        preview=previews(runbook, policy=policy, clock=clock, above=above),
    )
    steps = tuple(_planned(runbook, step, known, context) for step in runbook.steps)
    return Plan(runbook=runbook.name, parameters=dict(parameters), steps=steps)


def previews(runbook: Runbook, *, policy: Policy, clock: Clock, above: tuple[str, ...] = ()) -> Previews:
    """Return what shows the steps of this runbook what a run of another one would change."""
    return Previews(runbook, above, lambda found, values, below: plan(found, values, policy=policy, clock=clock, above=below))


def _planned(runbook: Runbook, step: Step, known: Mapping[str, Any], context: Context) -> PlannedStep:
    if step.has_members:
        return _whole(runbook, step, known, context)
    waits_for = prepare.open_names(step.call, set()) if step.call else ()
    if waits_for:
        return _bare(step, not_planned=f"its arguments depend on how {', '.join(waits_for)} ends")
    try:
        action = _action(runbook, step, known)
    except StopgapError as error:
        return _bare(step, refused=str(error))
    return _looked_at(step, action, context, severity=runbook.severity)


def _whole(runbook: Runbook, step: Step, known: Mapping[str, Any], context: Context) -> PlannedStep:
    """Plan a group, or a step for each entry of its list."""
    waits_for = prepare.open_steps(step.for_each.items, set()) if step.for_each else ()
    if waits_for:
        return _bare(step, not_planned=f"its list depends on how {', '.join(waits_for)} ends")
    try:
        every = members.of_list(step, members.entries(step, known)) if step.for_each else members.of_group(step)
    except StopgapError as error:
        return _bare(step, refused=str(error))
    planned = tuple(_planned(runbook, member, known, context) for member in every)
    most = step.for_each.max_in_flight if step.for_each else len(every)
    nothing = "" if every else "its list is empty, so it would be skipped"
    return replace(_bare(step, not_planned=nothing, refused=_together(runbook, every, known, context)), members=planned, at_a_time=most)


def _together(runbook: Runbook, every: Sequence[Step], known: Mapping[str, Any], context: Context) -> str:
    """Say why these cannot be carried out as one step; empty when they can. What is wrong with one alone is said of it."""
    actions: dict[StepId, Action] = {}
    asked = []
    for member in every:
        with contextlib.suppress(StopgapError):
            action = actions[member.id] = _action(runbook, member, known)
            wanted = gates.request(member, action, context.policy.rules(runbook.severity))
            asked += [wanted[0]] if wanted else []
    try:
        members.refuse_shared(actions)
        if asked:
            together.request(asked)
    except StopgapError as error:
        return str(error)
    return ""


def _action(runbook: Runbook, step: Step, known: Mapping[str, Any]) -> Action:
    if step.call is None:
        raise StopgapError(f'Step "{step.id}" has no action of its own.')
    return prepare.action(runbook, step.call, known)


def _looked_at(step: Step, action: Action, context: Context, *, severity: Severity) -> PlannedStep:
    change, refused = None, ""
    context = replace(context, deadline=context.clock.now() + READING, mark=f"plan/{step.id}")
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
