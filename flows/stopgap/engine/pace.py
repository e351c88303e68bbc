"""How many changing steps all runs together have begun within the last hour, for the limit of policy.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.actions import nested, registry
from stopgap.actions.contract import Change
from stopgap.incidents.model import Mode
from stopgap.plan import limits

if TYPE_CHECKING:
    from stopgap.engine.work import Work
    from stopgap.runbook.model import StepId
    from stopgap.timeline.entry import Entry


def moment(work: Work, step: StepId) -> limits.Moment:
    """Return the moment at which this step of this run would act; a dry run and a drill count nothing."""
    if work.mode is not Mode.LIVE:
        return limits.Moment(now=work.clock.now())
    return limits.Moment(now=work.clock.now(), begun=lambda: _begun(work, step))


def _begun(work: Work, step: StepId) -> int:
    since = work.clock.now() - limits.HOUR
    entries = work.timeline.of_kind("step.started", since=since)
    return len({(each.run, each.step) for each in entries if _counts(each) and (each.run, each.step) != (work.id, step)})


def _counts(entry: Entry) -> bool:
    if entry.step.endswith(".undo") or Change.from_json(entry.data["change"]).is_empty:
        return False
    uses = str(entry.data["uses"])
    return uses not in nested.NAMES and registry.load(uses).effect == "changes"
