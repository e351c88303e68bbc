"""Carries a whole run out: its steps in order, what follows from each end, and the end of the run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from stopgap.engine import afterwards, ending, hiding, journal, leaving, life, locking, parts, proposal, together, undo
from stopgap.incidents.model import Mode, RunEnd, StepRecord
from stopgap.problems import StopgapError
from stopgap.runbook.model import Status

if TYPE_CHECKING:
    from stopgap.engine.stage import Stage
    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run
    from stopgap.runbook.model import Step

ENDS = {Status.REJECTED: RunEnd.REJECTED, Status.EXPIRED: RunEnd.EXPIRED, Status.DONE: RunEnd.DONE, Status.NOT_CHECKED: RunEnd.DONE}


@runtime_checkable
class Leaves(Protocol):
    """A stage that a run may leave between two steps, with every entry written and nothing under way."""

    async def leave(self) -> None:
        """Let the run begin again elsewhere; may return when that is not possible."""


async def carry_out(work: Work, stage: Stage) -> RunEnd:
    """Bring a run to its end, from wherever the journal says it is."""
    run = await asyncio.to_thread(work.run)
    if run.end is not None:
        return run.end
    await asyncio.to_thread(_begin, work)
    await stage.tell()
    refused = await proposal.agreed(work, stage)
    end, left = (refused, ()) if refused else await (afterwards.carry_out(work, stage) if run.undoes else _steps(work, stage))
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
        if not await _prepared(work, stage):
            return RunEnd.ABORTED, ()
    except StopgapError as error:
        await asyncio.to_thread(work.write, "note", str(error))
        return RunEnd.FAILED, ()
    last: StepRecord | None = None
    for step in work.runbook.steps:
        record = await _step(work, step, stage)
        if record is None:
            return RunEnd.ABORTED, ()
        stop = _stops(step, record, await asyncio.to_thread(work.run))
        if stop == "undo":
            return _end(record), await undo.take_back(work, stage)
        if stop == "stop":
            return _end(record), ()
        if record.status is Status.EXPIRED:
            await asyncio.to_thread(locking.let_go, work, step)
        last = last if record.status is Status.SKIPPED else record
    return (_end(last) if last else RunEnd.DONE), ()


async def _step(work: Work, step: Step, stage: Stage) -> StepRecord | None:
    """Bring a step to its end; None when somebody ended the run before it came to that."""
    run = await asyncio.to_thread(work.run)
    if run.aborted_by and not together.is_begun(step, run):
        return None
    if step.has_members:
        record = await together.carry_out(work, step, stage)
    else:
        record = await life.carry_out(work, parts.part(work, step), stage)
    await stage.tell()
    if leaving.asked.is_set() and isinstance(stage, Leaves):
        await stage.leave()
    return record if record.status else None


async def _prepared(work: Work, stage: Stage) -> bool:
    """Hold every target that is known by now, before the first step; False when somebody ended the run while it waited for them."""
    run = await asyncio.to_thread(work.run)
    if work.mode is not Mode.LIVE:
        await asyncio.to_thread(locking.mention, work)
    elif not run.steps and not run.locks:
        return await locking.hold(work, stage, await asyncio.to_thread(locking.known, work))
    return True


def _stops(step: Step, record: StepRecord, run: Run) -> str:
    if record.ends:
        return record.ends
    if record.status in together.FAILURES:
        return {"stop": "stop", "rollback": "undo", "continue": ""}[together.follows(step, run)]
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
