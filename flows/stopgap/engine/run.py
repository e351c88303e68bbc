"""Carries a whole run out: its steps in order, what follows from each end, and the end of the run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stopgap.actions import registry
from stopgap.engine import afterwards, ending, hiding, journal, life, locking, undo
from stopgap.engine.stage import Part
from stopgap.incidents.model import Mode, RunEnd, StepRecord
from stopgap.plan import gates, prepare
from stopgap.problems import StopgapError
from stopgap.runbook.model import Status, Step

if TYPE_CHECKING:
    from stopgap.actions.contract import Action, Change
    from stopgap.engine.stage import Stage
    from stopgap.engine.work import Work
    from stopgap.runbook.model import ApprovalRequest

ENDS = {Status.REJECTED: RunEnd.REJECTED, Status.EXPIRED: RunEnd.EXPIRED, Status.DONE: RunEnd.DONE, Status.NOT_CHECKED: RunEnd.DONE}


async def carry_out(work: Work, stage: Stage) -> RunEnd:
    """Bring a run to its end, from wherever the journal says it is."""
    run = await asyncio.to_thread(work.run)
    if run.end is not None:
        return run.end
    await asyncio.to_thread(_begin, work)
    await stage.tell()
    end, left = await (afterwards.carry_out(work, stage) if run.undoes else _steps(work, stage))
    await asyncio.to_thread(_finish, work, end, left)
    await stage.tell()
    return end


def _begin(work: Work) -> None:
    marks = {Mode.LIVE: "", Mode.DRY: "DRY RUN, nothing will be changed: ", Mode.DRILL: "DRILL, nothing will be changed: "}
    undoes = work.run().undoes
    what = f"Taking back {undoes}" if undoes else f"{marks[work.mode]}{work.runbook.title} started"
    work.write("run.started", what, key=f"run.started/{work.id}", version=work.runbook.digest)


async def _steps(work: Work, stage: Stage) -> tuple[RunEnd, tuple[str, ...]]:
    try:
        prepare.refuse_unbuilt(work.runbook)
        if not await _prepared(work, stage):
            return RunEnd.ABORTED, ()
    except StopgapError as error:
        await asyncio.to_thread(work.write, "note", str(error))
        return RunEnd.FAILED, ()
    last: StepRecord | None = None
    for step in work.runbook.steps:
        run = await asyncio.to_thread(work.run)
        begun = run.steps.get(step.id)
        if run.aborted_by and not (begun and begun.is_started):
            return RunEnd.ABORTED, ()
        record = await life.carry_out(work, part(work, step), stage)
        await stage.tell()
        stop = _stops(step, record)
        if stop == "undo":
            return _end(record), await undo.take_back(work, stage)
        if stop == "stop":
            return _end(record), ()
        if record.status is Status.EXPIRED:
            await asyncio.to_thread(locking.let_go, work, step)
        last = last if record.status is Status.SKIPPED else record
    return (_end(last) if last else RunEnd.DONE), ()


async def _prepared(work: Work, stage: Stage) -> bool:
    """Hold every target that is known by now, before the first step; False when somebody ended the run while it waited for them."""
    run = await asyncio.to_thread(work.run)
    if work.mode is not Mode.LIVE:
        await asyncio.to_thread(locking.mention, work)
    elif not run.steps and not run.locks:
        return await locking.hold(work, stage, await asyncio.to_thread(locking.known, work))
    return True


def part(work: Work, step: Step) -> Part:
    """Return a runbook's step as the thing to carry out."""

    def build() -> Action:
        if step.call is None:
            raise prepare.NotBuiltError
        return work.action(step.call)

    def request(action: Action, _change: Change) -> tuple[ApprovalRequest, str] | None:
        run = work.run()
        first = not any(each.is_started and registry.load(each.uses).effect == "changes" for each in run.steps.values())
        return gates.request(step, action, work.rules(), unknown_starter=not run.starter and first)

    return Part(step=step, uses=step.call.uses if step.call else "", build=build, request=request)


def _stops(step: Step, record: StepRecord) -> str:
    if record.ends:
        return record.ends
    if record.status in {Status.FAILED, Status.EXPIRED, Status.UNKNOWN}:
        return {"stop": "stop", "rollback": "undo", "continue": ""}[step.on_failure]
    return ""


def _end(record: StepRecord) -> RunEnd:
    return ENDS.get(record.status or Status.FAILED, RunEnd.FAILED)


def _finish(work: Work, end: RunEnd, left: tuple[str, ...]) -> None:
    run = work.run()
    text, lists = afterwards.account(run, end) if run.undoes else ending.account(work, run, end)
    standing = list(left) or lists.get("left_standing", [])
    if standing:
        text += f" Left standing: {'; '.join(standing)}."
    data = hiding.hidden(work.secrets, {**lists, "left_standing": standing})
    journal.finished(work.timeline, run, end, work.secrets.text(text), **data)
