"""A runbook's step as the thing to carry out: how its action is made, and which gate it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.actions import registry
from stopgap.engine.stage import Part
from stopgap.plan import gates
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from stopgap.actions.contract import Action, Change
    from stopgap.engine.work import Work
    from stopgap.runbook.model import ApprovalRequest, Step


class NoActionError(StopgapError):
    """A step with members has no action of its own."""


def part(work: Work, step: Step) -> Part:
    """Return a step, or a member of one, as the thing to carry out."""

    def build() -> Action:
        if step.call is None:
            raise NoActionError
        return work.action(step.call)

    def request(action: Action, _change: Change) -> tuple[ApprovalRequest, str] | None:
        run = work.run()
        first = not any(each.is_started and registry.load(each.uses).effect == "changes" for each in run.steps.values())
        return gates.request(step, action, work.rules(), unknown_starter=not run.starter and first)

    return Part(step=step, uses=step.call.uses if step.call else "parallel", build=build, request=request)
