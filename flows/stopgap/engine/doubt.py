"""A step that started and about which nobody knows whether it happened: the action's probe answers, or else a human does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stopgap.actions.contract import Change, Probe
from stopgap.approvals import decide
from stopgap.approvals.model import Answer, Question
from stopgap.engine import attempt, questions
from stopgap.engine.work import LOOK
from stopgap.problems import StopgapError
from stopgap.runbook.model import Status

if TYPE_CHECKING:
    from stopgap.actions.contract import Action
    from stopgap.engine.stage import Part, Stage
    from stopgap.engine.work import Work
    from stopgap.incidents.model import StepRecord

POLL = 1.0  # seconds between two looks at an effect that is still on its way


async def resolve(work: Work, part: Part, stage: Stage, record: StepRecord, *, is_resumed: bool) -> None:
    """Find out what became of the attempt and journal it; nothing is sent."""
    action = await asyncio.to_thread(part.build)
    found = await asyncio.to_thread(_probe, work, part, action, record)
    attempted = f"attempt {record.attempt}"
    text = f"{part.step.name}: {attempted}"
    if found in {Probe.DONE, Probe.NOT_DONE}:
        await asyncio.to_thread(_take_back_question, work, part)
    if found is Probe.DONE:
        how = f"{text} was in doubt; the system says it is done"
        await stage.show(part, lambda: _done(work, part, record, how))
    elif found is Probe.NOT_DONE:
        await asyncio.to_thread(
            _not_done, work, part, record, f"{text} was in doubt; the system says it did not happen", is_resumed=is_resumed
        )
    else:
        still = (
            "is still in progress after its time"
            if found is Probe.IN_PROGRESS
            else "may or may not have happened, and the system cannot tell"
        )
        await _ask(work, part, stage, record, why=f"{attempted} {still}")


def _take_back_question(work: Work, part: Part) -> None:
    """The system has answered what people were still being asked."""
    gate = questions.latest(work, part, Question.DOUBT)
    if gate and gate.is_open:
        decide.void(
            work.timeline, work.run(), gate, why=f"{part.step.name}: nobody needs to answer any more, for the system says what became of it"
        )


def _probe(work: Work, part: Part, action: Action, record: StepRecord) -> Probe:
    change = Change.from_json(record.change or {})
    within = part.step.timeout or action.default_timeout
    deadline = work.clock.monotonic() + within.total_seconds()
    while True:
        context = work.context(mark=work.mark(part.step.id, record.attempt), within=LOOK)
        try:
            found = action.probe(context, change)
        except StopgapError as error:
            work.write("step.note", f"{part.step.name}: could not find out what became of it: {error}", step=part.step.id)
            found = Probe.UNKNOWN
        if found is not Probe.IN_PROGRESS or work.clock.monotonic() >= deadline:
            return found
        work.clock.sleep(POLL)


def _done(work: Work, part: Part, record: StepRecord, text: str) -> None:
    work.applied(part.step, text, attempt=record.attempt, output={})
    attempt.verify(work, part)


def _not_done(work: Work, part: Part, record: StepRecord, text: str, *, is_resumed: bool) -> None:
    # A process that died is no failed try of the step; a call that got lost in a living one is.
    work.retried(part.step, text, attempt=record.attempt, excused=is_resumed)
    if not is_resumed and record.attempt - record.excused >= attempt.tries(part):
        work.finished(part.step, Status.FAILED, text)


async def _ask(work: Work, part: Part, stage: Stage, record: StepRecord, *, why: str) -> None:
    gate = await questions.ask(
        work, part, stage, question=Question.DOUBT, asks={"why": why, "attempt": record.attempt, "change": record.change}
    )
    if gate.answer is Answer.DONE and gate.decided:
        how = f"{part.step.name}: {gate.decided.actor} says it is done"
        await stage.show(part, lambda: _done(work, part, record, how))
    elif gate.answer is Answer.AGAIN:
        await asyncio.to_thread(
            work.retried, part.step, f"{part.step.name}: {why}; it is tried again", attempt=record.attempt, excused=True
        )
    else:
        await asyncio.to_thread(work.finished, part.step, Status.UNKNOWN, f"{part.step.name}: {why}; nobody could say", ends="stop")
