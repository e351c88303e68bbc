"""How many changing steps all runs together have begun within the last hour, for the limit of policy.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.actions import nested, registry
from stopgap.actions.contract import Change
from stopgap.incidents.model import Mode
from stopgap.plan import limits

if TYPE_CHECKING:
    from stopgap.actions.contract import Action
    from stopgap.engine.work import Work
    from stopgap.runbook.model import Step, StepId
    from stopgap.timeline.entry import Entry


def moment(work: Work, step: StepId) -> limits.Moment:
    """Return the moment at which this step of this run would act; a dry run and a drill count nothing."""
    if work.mode is not Mode.LIVE:
        return limits.Moment(now=work.clock.now())
    return limits.Moment(now=work.clock.now(), begun=lambda: _begun(work, step))


def start(work: Work, step: Step, action: Action, change: Change) -> int:
    """Journal that an attempt begins; return its number. LimitError when it would be one too many.

    Where policy limits the pace, one counts and begins at a time, so that of several that begin together each counts those before it.
    """
    if work.mode is not Mode.LIVE or work.policy.limits.steps_per_hour is None or action.effect != "changes":
        return work.started(step, action, change)
    with work.timeline.locks.turn():
        limits.check(work.policy, action, change, step=step.id, moment=moment(work, step.id))
        return work.started(step, action, change)


def _begun(work: Work, step: StepId) -> int:
    since = work.clock.now() - limits.HOUR
    entries = work.timeline.of_kind("step.started", since=since)
    return len({(each.run, each.step) for each in entries if _counts(each) and (each.run, each.step) != (work.id, step)})


def _counts(entry: Entry) -> bool:
    if entry.step.endswith(".undo") or Change.from_json(entry.data["change"]).is_empty:
        return False
    uses = str(entry.data["uses"])
    return uses not in nested.NAMES and registry.load(uses).effect == "changes"
