"""The undo ladder: takes back what started, the failing step first, then in reverse; says what is left standing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from stopgap.actions.contract import Change, Probe
from stopgap.engine import life
from stopgap.engine.stage import Part
from stopgap.engine.work import LOOK
from stopgap.problems import StopgapError
from stopgap.runbook.model import ApprovalRequest, Status, Step, StepId

if TYPE_CHECKING:
    from stopgap.actions.contract import Action
    from stopgap.engine.stage import Stage
    from stopgap.engine.work import Work
    from stopgap.incidents.model import StepRecord


async def take_back(work: Work, stage: Stage) -> tuple[str, ...]:
    """Undo every step that started, newest first; return a sentence for each that is left standing.

    An undo that fails does not stop the others. On re-entry what was undone stays so.
    """
    left = []
    for step in reversed(work.runbook.steps):
        record = await asyncio.to_thread(work.record, step.id)
        if record.is_started and not record.undone and step.call:
            try:
                standing = await _undo(work, stage, step, record)
            except StopgapError as error:
                standing = f"{step.name}: {error}"
            if standing:
                left.append(standing)
    return tuple(left)


async def _undo(work: Work, stage: Stage, step: Step, record: StepRecord) -> str:
    change = Change.from_json(record.to_undo or {})
    action = await asyncio.to_thread(work.action, step.call) if step.call else None
    if action is None or action.effect == "reads" or change.is_empty:
        return ""
    back = action.undo(change)
    if back is None:
        await asyncio.to_thread(work.write, "step.note", f"{step.name}: cannot be undone", step=step.id)
        return f"{step.name}: {change.summary} (cannot be undone)"
    if record.status is not Status.DONE and await asyncio.to_thread(_never_happened, work, step, record, action):
        return ""
    part = Part(step=_undo_step(step), uses=back.name, build=lambda: back, request=lambda undo, now: _request(work, undo, now, was=change))
    ended = await life.carry_out(work, part, stage)
    if ended.status is not Status.DONE:
        return f"{step.name}: {change.summary} (its undo ended {ended.status})"
    await asyncio.to_thread(work.write, "step.undone", f"{step.name}: undone", step=step.id, key=f"step.undone/{work.id}/{step.id}")
    return ""


def _never_happened(work: Work, step: Step, record: StepRecord, action: Action) -> bool:
    if record.to_undo != record.change:
        return False  # an earlier attempt arrived late, and this one found its work done
    context = work.context(mark=work.mark(step.id, record.attempt), within=LOOK)
    return action.probe(context, Change.from_json(record.change or {})) is Probe.NOT_DONE


def _undo_step(step: Step) -> Step:
    # A dot never stands in the id of a runbook's own step.
    return replace(
        step,
        id=StepId(f"{step.id}.undo"),
        name=f"Undo {step.name}",
        call=None,
        when=None,
        verify=None,
        approval=None,
        on_failure="continue",
    )


def _request(work: Work, undo: Action, now: Change, *, was: Change) -> tuple[ApprovalRequest, str] | None:
    """An undo asks where it is risky, lowers capacity, or finds another state than the one we left."""
    wanted = ApprovalRequest(by=work.policy.approvals.high_risk)
    moved = sorted(key for key, value in was.after.items() if key in now.now and now.now[key] != value)
    if moved:
        return wanted, f"{', '.join(moved)} is no longer what this run left behind"
    if _number(now.after.get("replicas")) < _number(now.now.get("replicas")):
        return wanted, "this undo lowers capacity"
    return (wanted, f"{undo.name} is risky") if undo.risk == "high" else None


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
