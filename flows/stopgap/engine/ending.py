"""What a run says of itself at its end: what is done, what was taken back, what is not done, and what stands all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.actions import registry
from stopgap.engine import members
from stopgap.incidents.model import Mode, StepRecord
from stopgap.runbook.model import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run, RunEnd


def account(work: Work, run: Run, end: RunEnd) -> tuple[str, dict[str, list[str]]]:
    """Return the run's last sentence and its steps by what became of them; what is left standing is not yet in the sentence."""
    steps = {step.id: run.steps.get(step.id, StepRecord(id=step.id)) for step in members.of_run(work.runbook.steps, run)}
    lists: dict[str, list[str]] = {
        "done": [name for name, step in steps.items() if step.status is Status.DONE and not step.undone],
        "taken_back": [name for name, step in steps.items() if step.undone],
        "not_done": [name for name, step in steps.items() if step.status is not Status.DONE and not step.undone],
        "ended": [name for name, step in steps.items() if step.status],
        "left_standing": [f"{name} ({step.applied})" for name, step in steps.items() if _stands(step)],
    }
    return _sentence(work, end, lists), lists


def _sentence(work: Work, end: RunEnd, lists: Mapping[str, list[str]]) -> str:
    if work.mode is not Mode.LIVE:
        return f"{work.runbook.title}: {work.mode} ended {end}. Nothing was changed. Not checked: whether any step would have worked."
    back = f" Taken back: {', '.join(lists['taken_back'])}." if lists["taken_back"] else ""
    done, not_done = (", ".join(lists[name]) or "nothing" for name in ("done", "not_done"))
    return f"{work.runbook.title}: {end}. Done: {done}.{back} Not done: {not_done}."


def _stands(record: StepRecord) -> bool:
    """Say whether a step that did not end done changed something that was not taken back."""
    change = record.to_undo or {"now": {}, "after": {}}
    has_changed = bool(record.applied) and change["now"] != change["after"] and registry.load(record.uses).effect == "changes"
    return has_changed and record.status is not Status.DONE and not record.undone
