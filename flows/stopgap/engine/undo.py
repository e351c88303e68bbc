"""The undo ladder: takes back what started, the failing step first, then in reverse; says what is left standing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from stopgap.actions.contract import Change, Probe
from stopgap.engine import life, members, nested
from stopgap.engine.stage import Part
from stopgap.engine.work import LOOK
from stopgap.problems import StopgapError
from stopgap.runbook.model import ApprovalRequest, Status, Step, StepId

if TYPE_CHECKING:
    from stopgap.actions.contract import Action
    from stopgap.engine.stage import Stage
    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run, StepRecord


SUFFIX = ".undo"  # a dot never stands in the id of a runbook's own step


async def take_back(work: Work, stage: Stage, *, done: Work | None = None, only: str = "") -> tuple[str, ...]:
    """Undo every step that started, the last to start first, or `only` one; return a sentence for each that is left standing.

    `done` is the ended run that did the steps, when it is not `work` itself. An undo that fails does not stop the others, a person who
    says stop does. On re-entry what was undone stays so.
    """
    done = done or work
    left = []
    for step, record in await asyncio.to_thread(_ladder, done, only):
        if step.call:
            try:
                standing = await _undo(work, stage, step, record, done=done)
            except StopgapError as error:
                standing = f"{step.name}: {error}"
            if standing:
                left.append(standing)
    return tuple(left)


def _ladder(done: Work, only: str) -> list[tuple[Step, StepRecord]]:
    run = done.run()
    return [(step, run.steps[step.id]) for step in reversed(standing(done, run, only=only))]


def standing(done: Work, run: Run, *, only: str = "") -> list[Step]:
    """Return the steps, members in place of those that have some, that may have left something behind; the first to start first.

    `only` is one step, or one whose members are meant.
    """
    steps = {member.id: (member, step) for step in done.runbook.steps for member in members.of_run([step], run)}
    begun = [(*steps[name], record) for name, record in run.steps.items() if name in steps]
    return [member for member, step, record in begun if is_standing(record) and only in {"", member.id, step.id}]


def is_standing(record: StepRecord) -> bool:
    """Say whether this step may have left something behind that nobody took back."""
    return record.is_started and not record.undone


async def _undo(work: Work, stage: Stage, step: Step, record: StepRecord, *, done: Work) -> str:
    change = Change.from_json(record.to_undo or {})
    action = await asyncio.to_thread(done.action, step.call) if step.call else None
    if (
        action is None
        or action.effect == "reads"
        or change.is_empty
        or await asyncio.to_thread(_left_nothing, work, done, step, record, action)
    ):
        return ""
    back = await asyncio.to_thread(_way_back, work, done, step, record, action)
    if back is None:
        await asyncio.to_thread(work.write, "step.note", f"{step.name}: cannot be undone", step=step.id)
        return f"{step.name}: {change.summary} (cannot be undone)"
    if await asyncio.to_thread(_was_stopped, work, is_afterwards=done is not work):
        return f"{step.name}: {change.summary} (not taken back)"
    part = Part(step=_undo_step(step), uses=back.name, build=lambda: back, request=lambda undo, now: _request(work, undo, now, was=change))
    ended = await life.carry_out(work, part, stage)
    if ended.status is not Status.DONE:
        return f"{step.name}: {change.summary} (its undo ended {ended.status})"
    by = f" by {work.id}" if done is not work else ""
    await asyncio.to_thread(done.write, "step.undone", f"{step.name}: undone{by}", step=step.id, key=f"step.undone/{done.id}/{step.id}")
    return ""


def _was_stopped(work: Work, *, is_afterwards: bool) -> bool:
    """Say whether a person ended the ladder: at one of its gates, or by ending the run whose only work it is."""
    run = work.run()
    return (is_afterwards and bool(run.aborted_by)) or any(each.ends for each in run.steps.values() if each.id.endswith(SUFFIX))


def _way_back(work: Work, done: Work, step: Step, record: StepRecord, action: Action) -> Action | None:
    if nested.is_call(step.call):
        return nested.back(done, step, record, is_begun=work.record(_undo_step(step).id).is_started)
    return action.undo(Change.from_json(record.to_undo or {}))


def _left_nothing(work: Work, done: Work, step: Step, record: StepRecord, action: Action) -> bool:
    """Say whether nothing of a step that began is there: it was never carried out, or the run that it was left nothing behind."""
    back = _way_back(work, done, step, record, action)
    if nested.is_call(step.call):
        return back is None
    if back is None or record.applied or record.to_undo != record.change:
        return False  # an earlier attempt that arrived late did the work, when what is to undo is another change
    context = done.context(mark=done.mark(step.id, record.attempt), within=LOOK)
    return action.probe(context, Change.from_json(record.change or {})) is Probe.NOT_DONE


def _undo_step(step: Step) -> Step:
    return replace(
        step,
        id=StepId(f"{step.id}{SUFFIX}"),
        name=f"Undo {step.name}",
        call=None,
        when=None,
        verify=None,
        approval=None,
        on_failure="continue",
    )


def _request(work: Work, undo: Action, now: Change, *, was: Change) -> tuple[ApprovalRequest, str] | None:
    """An undo asks where it is risky, lowers capacity, or finds another state than the one we left."""
    rules = work.rules()
    wanted = ApprovalRequest(by=rules.high_risk)
    moved = sorted(key for key, value in was.after.items() if key in now.now and now.now[key] != value)
    if moved:
        return wanted, f"{', '.join(moved)} is no longer what this run left behind"
    if _number(now.after.get("replicas")) < _number(now.now.get("replicas")):
        return wanted, "this undo lowers capacity"
    is_asked = rules.asks in {"every-change", "risky"} and undo.risk == "high"
    return (wanted, f"{undo.name} is risky") if is_asked else None


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
