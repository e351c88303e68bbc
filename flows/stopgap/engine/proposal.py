"""A run that is proposed: a person must agree before it begins, at a gate of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from stopgap.approvals.model import Answer, Question
from stopgap.engine import questions
from stopgap.engine.stage import Part
from stopgap.incidents.model import RunEnd
from stopgap.problems import Position, StopgapError
from stopgap.runbook.model import ApprovalRequest, Step, StepId

if TYPE_CHECKING:
    from stopgap.engine.stage import Stage
    from stopgap.engine.work import Work

GATE = StepId("run.begin")  # no step of a runbook can be called like this


async def agreed(work: Work, stage: Stage) -> RunEnd | None:
    """Ask whether a proposed run may begin; return None when it may, and otherwise how it ends."""
    run = await asyncio.to_thread(work.run)
    if not run.proposed:
        return None
    asks = {"why": f"May {work.runbook.name} begin? It was not started by itself, because {run.proposed}."}
    gate = await questions.ask(work, _part(work), stage, question=Question.PROPOSAL, asks=asks)
    if gate.answer is Answer.APPROVE:
        return None
    if gate.decided is None:
        return RunEnd.ABORTED
    return RunEnd.EXPIRED if gate.has_expired else RunEnd.REJECTED


def _part(work: Work) -> Part:
    request = ApprovalRequest(by=work.policy.approvals.high_risk)
    step = Step(id=GATE, name=f"Begin {work.runbook.title}", position=Position(1, 1), approval=request)
    return Part(step=step, uses="", build=_nothing, request=lambda _action, _change: None)


def _nothing() -> NoReturn:
    raise StopgapError("There is nothing to do at the beginning of a run but to ask.")
