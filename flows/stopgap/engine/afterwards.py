"""A run that takes back what an ended one did: the ladder of that run, journalled as steps of this one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from stopgap.engine import locking, undo
from stopgap.incidents.model import RunEnd
from stopgap.problems import StopgapError
from stopgap.runbook.model import Status

if TYPE_CHECKING:
    from stopgap.engine.stage import Stage
    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run


async def carry_out(work: Work, stage: Stage) -> tuple[RunEnd, tuple[str, ...]]:
    """Walk the ladder of the run that this one undoes; return the end and a sentence for each change that is left standing."""
    run = await asyncio.to_thread(work.run)
    done = replace(work, id=run.undoes)
    try:
        targets = await asyncio.to_thread(_targets, done, run)
        if not run.steps and not run.locks and not await locking.hold(work, stage, targets):
            return RunEnd.ABORTED, ()
    except StopgapError as error:
        await asyncio.to_thread(work.write, "note", str(error))
        return RunEnd.FAILED, ()
    left = await undo.take_back(work, stage, done=done, only=run.only)
    return _end(await asyncio.to_thread(work.run), left), left


def account(run: Run, end: RunEnd) -> tuple[str, dict[str, list[str]]]:
    """Return how such a run ended and what it took back, as a sentence and as data."""
    ended = {id_.removesuffix(undo.SUFFIX): record.status for id_, record in run.steps.items() if record.status}
    taken = [step for step, status in ended.items() if status is Status.DONE]
    text = f"Taking back {run.undoes}: {end}. Taken back: {', '.join(taken) or 'nothing'}."
    return text, {"done": taken, "ended": list(ended), "not_done": [step for step in ended if step not in taken]}


def _targets(done: Work, run: Run) -> frozenset[str]:
    """The targets of what is taken back; those of undos that work elsewhere are taken when they are known."""
    return locking.known(done, steps=undo.standing(done, done.run(), only=run.only))


def _end(run: Run, left: tuple[str, ...]) -> RunEnd:
    if not left:
        return RunEnd.DONE
    if run.aborted_by:
        return RunEnd.ABORTED
    ends = {Status.REJECTED: RunEnd.REJECTED, Status.EXPIRED: RunEnd.EXPIRED}
    found = {ends.get(record.status, RunEnd.FAILED) for record in run.steps.values() if record.status and record.status is not Status.DONE}
    return found.pop() if len(found) == 1 else RunEnd.FAILED
