"""What a dry run and a drill do instead of acting: everything is read, nothing is sent, and what was not checked is said."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stopgap.approvals.model import Answer, Question
from stopgap.engine import attempt, nested, questions
from stopgap.plan import prepare
from stopgap.runbook.model import Status, own_step

if TYPE_CHECKING:
    from stopgap.actions.contract import Action, Change
    from stopgap.engine.stage import Part, Stage
    from stopgap.engine.work import Work
    from stopgap.runbook.model import Step

ASSUMED = {
    "done": Status.DONE,
    "failed": Status.FAILED,
    "rejected": Status.REJECTED,
    "expired": Status.EXPIRED,
    "skipped": Status.SKIPPED,
    "unknown": Status.UNKNOWN,
}
UNASKED = frozenset({"rejected", "expired", "skipped"})  # what a scenario assumes instead of the gate


def look(work: Work, part: Part) -> None:
    """Plan a step of a dry run, whatever its condition, and say what was not checked. What only reads is read."""
    ended = {str(step.id) for step in work.run().steps.values() if step.status not in {None, Status.NOT_CHECKED}}
    unknown = prepare.open_names(part.step.call, ended) if part.step.call else ()
    if unknown:
        text = f"not planned, because it depends on how {', '.join(unknown)} ends"
        work.finished(part.step, Status.NOT_CHECKED, f"{part.step.name}: {text}{_unchecked(part)}")
        return
    action = part.build()
    change = attempt.plan(work, part, action)
    work.planned(part.step, action, change)
    if nested.is_one(part):
        work.started(part.step, action, change)  # the other runbook is run dry, too: `nested.follow`
        return
    if attempt.only_reads(action):
        attempt.make(work, part, action, change)
        return
    asked = part.request(action, change)
    asks = f"; would ask {' or '.join(asked[0].by)} first" if asked else ""
    work.finished(part.step, Status.NOT_CHECKED, f"{part.step.name}: would do: {change.summary}{asks}{_unchecked(part)}")


async def play(work: Work, part: Part, stage: Stage, action: Action) -> None:
    """Carry a step of a drill through its gate, and let the scenario or the facilitator say how it ended."""
    outcome = await asyncio.to_thread(given, work, part.step)
    if outcome in UNASKED:
        await stage.show(part, lambda: _assume(work, part, ASSUMED[outcome], "the scenario says so"))
        return
    change = await questions.approved(work, part, stage, action)
    if change is None:
        return
    if outcome:
        await stage.show(part, lambda: _assume(work, part, ASSUMED[outcome], "the scenario says so"))
        return
    await _facilitated(work, part, stage, change)


def is_assumed_away(work: Work, step: Step) -> bool:
    """Say whether the scenario lets a step end before anybody is asked."""
    return given(work, step) in UNASKED


def given(work: Work, step: Step) -> str:
    """Return how the scenario lets a step end, empty when it does not say; of a member also by the step it belongs to."""
    said = work.run().given
    owner = next((each.id for each in work.runbook.steps if step.id in {member.id for member in each.parallel}), None)
    return said.get(step.id, "") or said.get(owner or own_step(step.id), "")


async def _facilitated(work: Work, part: Part, stage: Stage, change: Change) -> None:
    why = f"the scenario does not say how this ends; what do you assume? {change.summary}"
    gate = await questions.ask(work, part, stage, question=Question.OUTCOME, asks={"why": why})
    status = {Answer.WORKED: Status.DONE, Answer.FAILED: Status.FAILED}.get(gate.answer or Answer.STOP)
    if status is None:
        text = f"{part.step.name}: {questions.why_empty(gate)}"
        await asyncio.to_thread(work.finished, part.step, Status.REJECTED, text, ends="stop")
        return
    who = gate.decided.actor if gate.decided else "nobody"
    await stage.show(part, lambda: _assume(work, part, status, f"{who} says so"))


def _assume(work: Work, part: Part, status: Status, why: str) -> None:
    work.finished(part.step, status, f"{part.step.name}: assumed {status}, because {why}{_unchecked(part)}", assumed=True)


def _unchecked(part: Part) -> str:
    return f"; {part.step.verify.uses} was not checked" if part.step.verify else ""
