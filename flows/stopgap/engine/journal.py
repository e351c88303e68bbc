"""The entries about a run as a whole that are written from several places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.incidents import fold
from stopgap.incidents.model import Run, RunEnd

if TYPE_CHECKING:
    from stopgap.timeline.entry import Draft, Timeline
    from stopgap.timeline.leases import Lease


def scheduled(timeline: Timeline, run: Run, flow_run: str) -> str:
    """Journal which flow run carries a run out, unless another one does; return the one that does."""
    if run.flow_run:
        return run.flow_run
    text = f"{run.id} handed to Prefect"
    draft = run.draft("run.scheduled", text, key=f"run.scheduled/{run.id}", data={"flow_run": flow_run})
    return str(timeline.append(draft).entry.data["flow_run"])


def scheduled_again(timeline: Timeline, run: Run, flow_run: str) -> str:
    """Journal that another flow run carries a run out, because Prefect has the one before no more; return the one that does."""
    text = f"Prefect no longer has the flow run of {run.id}: it goes on in another one, and asks again what was open"
    draft = run.draft(
        "run.scheduled", text, key=f"run.scheduled/{run.id}/{run.flow_run}", data={"flow_run": flow_run, "instead_of": run.flow_run}
    )
    return str(timeline.append(draft).entry.data["flow_run"])


def abort_asked(timeline: Timeline, run: Run, *, actor: str, why: str) -> str:
    """Journal that a run is to end before its next step; return the first such sentence."""
    text = f"{'Somebody' if actor == 'unknown' else actor} ends {run.id}{f': {why}' if why else ''}"
    draft = run.draft("run.abort_asked", text, key=f"run.abort_asked/{run.id}", actor=actor, data={"reason": why})
    return timeline.append(draft).entry.text


def taken_over(timeline: Timeline, name: str, before: Lease, after: Lease) -> str:
    """Journal that a run goes on in another process than the one that had it, which was not heard of any more."""
    heard = f"{before.place} carried it out and was last heard of at {before.renewed:%H:%M:%S} UTC"
    text = f"{name} goes on: {heard if before.holder else 'nobody carried it out'}"
    draft = fold.find_run(timeline, name).draft(
        "run.taken_over", text, key=f"run.taken_over/{name}/{after.term}", data={"from": before.place, "by": after.place}
    )
    return timeline.append(draft).entry.text


def finished(timeline: Timeline, run: Run, end: RunEnd, text: str, **data: object) -> RunEnd:
    """Journal how a run ended, and that its targets are free; return the first end that was journalled."""
    end_of_run = run.draft("run.finished", text, key=f"run.finished/{run.id}", data={"end": str(end), **data})
    done = timeline.append_all([*_released(fold.find_run(timeline, run.id)), end_of_run])
    return RunEnd(done[-1].entry.data["end"])


def broken_off(timeline: Timeline, run: Run, end: RunEnd, text: str) -> RunEnd:
    """Journal that a run ended before its time, and what nobody knows of it; return the first end that was journalled."""
    steps = fold.find_run(timeline, run.id).steps.values()
    doubt = [str(step.id) for step in steps if step.is_in_doubt]
    if doubt:
        text += f" Nobody knows whether this happened: {', '.join(doubt)}."
    if any(step.change for step in steps):
        text += f" To take back what it did:  stopgap undo {run.id}"
    return finished(timeline, run, end, text, in_doubt=doubt)


def _released(run: Run) -> list[Draft]:
    """The rows of its locks need no care: those of a run that has ended count as free."""
    if not run.locks or run.within:
        return []  # what a nested run took is held by the run that it belongs to
    targets = sorted(run.locks)
    return [run.draft("lock.released", f"Gave back {', '.join(targets)}", key=f"lock.released/{run.id}", data={"targets": targets})]
