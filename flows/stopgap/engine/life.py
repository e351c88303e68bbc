"""The life of a step: render, plan, guard, gate, started*, apply, verify, finished*  (* durable before going on).

Every turn of `carry_out` reads the journal and does the one next thing; so a process that dies anywhere is followed by one that
goes on from what is written, and nothing is done twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stopgap.engine import attempt, doubt, locking, nested, questions, rehearse
from stopgap.incidents.model import Mode, StepRecord
from stopgap.problems import StopgapError
from stopgap.runbook import expressions
from stopgap.runbook.model import Status

if TYPE_CHECKING:
    from stopgap.engine.stage import Part, Stage
    from stopgap.engine.work import Work


async def carry_out(work: Work, part: Part, stage: Stage) -> StepRecord:
    """Bring a step to its end and return what the journal says of it; a finished step returns at once."""
    is_resumed = True
    while (record := await asyncio.to_thread(work.record, part.step.id)).status is None:
        try:
            await _go_on(work, part, stage, record, is_resumed=is_resumed)
        except StopgapError as error:
            await asyncio.to_thread(work.finished, part.step, Status.FAILED, f"{part.step.name}: {error}")
        is_resumed = False
    return record


async def _go_on(work: Work, part: Part, stage: Stage, record: StepRecord, *, is_resumed: bool) -> None:
    if record.applied:
        await stage.show(part, lambda: attempt.verify(work, part))
    elif record.is_started and nested.is_one(part):
        await nested.follow(work, part, stage, record)
    elif record.is_in_doubt:
        await doubt.resolve(work, part, stage, record, is_resumed=is_resumed)
    elif work.mode is Mode.DRY:
        await stage.show(part, lambda: rehearse.look(work, part))
    elif record.attempt == 0 and not await asyncio.to_thread(_holds, work, part):
        await stage.show(part, lambda: _skip(work, part))
    else:
        await _act(work, part, stage)


async def _act(work: Work, part: Part, stage: Stage) -> None:
    action = await asyncio.to_thread(part.build)
    if getattr(action, "confirms", False):
        await questions.confirmed(work, part, stage, action)
    elif nested.is_one(part) and not await asyncio.to_thread(rehearse.given, work, part.step):
        await nested.begin(work, part, stage, action)
    elif not await locking.hold_for_step(work, part, stage, action):
        return
    elif work.mode is Mode.DRILL and not attempt.only_reads(action):
        await rehearse.play(work, part, stage, action)
    else:
        change = await questions.approved(work, part, stage, action)
        if change is not None:
            await stage.show(part, lambda: attempt.make(work, part, action, change))


def _holds(work: Work, part: Part) -> bool:
    condition = part.step.when
    return condition is None or expressions.holds(condition, work.names())


def _skip(work: Work, part: Part) -> None:
    work.finished(part.step, Status.SKIPPED, f"{part.step.name}: skipped, because {part.step.when} does not hold")
