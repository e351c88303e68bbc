"""A step that is a run of its own: `runbook.run`, and `runbook.undo`, which takes such a run back.

The step asks for the other run by a key made from this run and the step, so that there is one however often this one is killed; then it waits,
without a process, until that run has ended. Nothing is kept beside the timeline: whoever goes on asks again, and gets the same run.

A nested run works under the locks of the run that it belongs to (`locking.owner`), and is ended with it (`end_with_parent`).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.actions import nested as actions
from stopgap.actions import registry
from stopgap.actions.contract import PermanentError
from stopgap.engine import hiding, journal, questions
from stopgap.engine.stage import WAITING
from stopgap.incidents import fold
from stopgap.incidents.model import Mode, RunEnd
from stopgap.incidents.open import request_run, request_undo
from stopgap.plan import nested, parameters
from stopgap.problems import StopgapError
from stopgap.runbook.model import Status

if TYPE_CHECKING:
    from stopgap.actions.contract import Action
    from stopgap.engine.stage import Part, Stage
    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run, RunId, StepRecord
    from stopgap.runbook.model import Call, Step
    from stopgap.timeline.entry import Timeline

# Between two looks; the sweep wakes whoever waits for a run that has ended.
_SHORTEST = timedelta(seconds=2)
_LONGEST = timedelta(minutes=5)
_ENDS = {RunEnd.REJECTED: Status.REJECTED, RunEnd.EXPIRED: Status.EXPIRED}


def is_one(part: Part) -> bool:
    """Say whether a step is a run of its own."""
    return part.uses in actions.NAMES


def is_call(call: Call | None) -> bool:
    """Say whether a call runs another runbook."""
    return call is not None and call.uses == actions.RUN


async def begin(work: Work, part: Part, stage: Stage, action: Action) -> None:
    """Bring the step through its gate, if it has one, and journal that it begins; `follow` goes on from there."""
    if part.within is not None:
        raise PermanentError("a runbook has questions of its own, so it cannot be a member of a step; write it as a step, before or after")
    change = await questions.approved(work, part, stage, action)
    if change is not None:
        await asyncio.to_thread(work.started, part.step, action, change)


async def follow(work: Work, part: Part, stage: Stage, record: StepRecord) -> None:
    """Ask for the other run, which may have been done before, and wait for its end; what came of it is what came of the step."""
    found = await asyncio.to_thread(_asked_for, work, part, record)
    if found.end is None:
        await asyncio.to_thread(_end_if_due, work, part, record, found)
        await _begin(work, stage, found)
        found = await asyncio.to_thread(fold.find_run, work.timeline, found.id)
    if found.end is not None:
        await stage.show(part, lambda: _conclude(work, part, record, found))
        return
    waited = work.clock.now() - found.requested_at
    await stage.rest(min(max(waited, _SHORTEST), _LONGEST), why=f"{part.step.name}: waits for {found.id}", state=WAITING)


async def _begin(work: Work, stage: Stage, found: Run) -> None:
    try:
        await stage.begin_run(found)
    except StopgapError as error:
        await asyncio.to_thread(journal.finished, work.timeline, found, RunEnd.FAILED, f"{found.id} could not begin: {error}")


def back(done: Work, step: Step, record: StepRecord, *, is_begun: bool) -> Action | None:
    """Return what takes the nested run of a step back; None when it left nothing behind, and nobody has begun to take it back."""
    entry = done.timeline.find(f"run.requested/{_key(done.run(), step.id)}")
    if entry is None:
        return None
    found = fold.find_run(done.timeline, entry.run)
    has_something = record.is_started and any(map(_stands, found.steps.values()))
    return actions.RunbookUndo(run=found.id) if has_something or is_begun else None


def open_ones(timeline: Timeline, run: Run) -> tuple[Run, ...]:
    """Return the runs that this run's steps wait for."""
    return tuple(
        found
        for step in run.steps.values()
        if step.run and step.status is None and (found := fold.find_run(timeline, step.run)).end is None
    )


def end_with_parent(timeline: Timeline, run: Run) -> bool:
    """Ask a nested run to end when the one that it belongs to was ended, or has ended without it; say whether that is so."""
    if not run.within or run.aborted_by:
        return False
    parent = fold.find_run(timeline, run.within)
    if parent.end is None and not parent.aborted_by:
        return False
    journal.abort_asked(timeline, run, actor=parent.aborted_by or "stopgap", why=f"{parent.id}, to which it belongs, was ended")
    return True


def _key(run: Run, step: str) -> str:
    return f"nested/{run.key}/{step}"


def _asked_for(work: Work, part: Part, record: StepRecord) -> Run:
    """Return the step's run: the one asked for before, or now."""
    run = work.run()
    key = _key(run, part.step.id)
    already = work.timeline.find(f"run.requested/{key}")
    found = fold.find_run(work.timeline, already.run) if already else _request(work, part, record, run=run, key=key)
    text = f"{part.step.name}: {found.runbook} runs as {found.id}"
    work.write("step.delegated", text, step=part.step.id, key=f"step.delegated/{work.id}/{part.step.id}", run=found.id)
    return found


def _request(work: Work, part: Part, record: StepRecord, *, run: Run, key: str) -> Run:
    action = part.build()
    if isinstance(action, actions.RunbookUndo):
        of = fold.find_run(work.timeline, action.run)
        _refuse_undo(run, of)
        return request_undo(work.timeline, of=of, step="", starter=run.starter, key=key, within=run.id)
    if not isinstance(action, actions.RunbookRun):
        raise PermanentError(f"{action.name} is no run of its own.")
    if hiding.hidden(work.secrets, {"it": action.parameters}) != {"it": action.parameters}:
        raise PermanentError("a secret parameter cannot be handed to another runbook: it would stand on the timeline")
    found = nested.find(work.runbook, action.runbook, above=lineage(work.timeline, run))
    approved = (record.change or {}).get("after", {}).get("version")
    if approved != found.digest[:12]:
        raise PermanentError(f"the file of {found.name} is now version {found.digest[:12]}, and {approved} was planned; start it anew")
    own = f"{part.step.id}."
    return request_run(
        work.timeline,
        incident=run.incident,
        runbook=found,
        parameters=parameters.check(found, action.parameters),
        mode=work.mode,
        starter=run.starter,
        key=key,
        given={name.removeprefix(own): each for name, each in run.given.items() if name.startswith(own)},
        scenario=run.scenario,
        within=run.id,
    )


def lineage(timeline: Timeline, run: Run) -> tuple[str, ...]:
    """Return the runbooks by whose steps a run runs, the outermost first, its own last."""
    names = [run.runbook]
    while run.within:
        run = fold.find_run(timeline, run.within)
        names.insert(0, run.runbook)
    return tuple(names)


def _refuse_undo(run: Run, of: Run) -> None:
    if of.incident != run.incident:
        raise PermanentError(f"{of.id} belongs to {of.incident}; a step takes back runs of its own incident, {run.incident}, alone")
    if of.end is None:
        raise PermanentError(f"{of.id} has not ended, so it cannot be taken back yet")
    if of.undoes:
        raise PermanentError(f"{of.id} took {of.undoes} back; run the runbook again instead")


def _end_if_due(work: Work, part: Part, record: StepRecord, found: Run) -> None:
    """End the nested run with this one, or when the step's time is over."""
    if end_with_parent(work.timeline, found) or found.aborted_by or record.started_at is None:
        return
    within = part.step.timeout or registry.load(part.uses).default_timeout
    if work.clock.now() - record.started_at > within:
        journal.abort_asked(work.timeline, found, actor="stopgap", why=f"the step {part.step.id} of {work.id} has taken too long")


def _conclude(work: Work, part: Part, record: StepRecord, found: Run) -> None:
    said = next((entry.text for entry in reversed(work.timeline.of_run(found.id)) if entry.kind == "run.finished"), "")
    text = f"{part.step.name}: {found.id} ended {found.end}: {said}"
    output = {"run": found.id, "end": str(found.end)}
    if found.end is RunEnd.ABORTED and work.run().aborted_by:  # to end a run takes nothing back, whatever the step's on_failure says
        work.finished(part.step, Status.REJECTED, text, ends="stop", output=output)
    elif found.end is not RunEnd.DONE:
        work.finished(part.step, _ENDS.get(found.end or RunEnd.FAILED, Status.FAILED), text, output=output)
    elif work.mode is Mode.LIVE:
        work.applied(part.step, f"{found.id} ended done", attempt=record.attempt, output=output)
    else:
        status = Status.NOT_CHECKED if work.mode is Mode.DRY else Status.DONE
        unchecked = f" {part.step.verify.uses} was not checked." if part.step.verify else ""
        work.finished(part.step, status, text + unchecked, output=output)


def _stands(record: StepRecord) -> bool:
    change = record.to_undo or {}
    is_change = bool(record.is_started) and registry.load(record.uses).effect == "changes"
    return is_change and not record.undone and change.get("now") != change.get("after")


def id_of(timeline: Timeline, run: Run) -> RunId:
    """Return the run under whose name a nested run holds its locks: the outermost that has not ended."""
    while run.within:
        parent = fold.find_run(timeline, run.within)
        if parent.end is not None:
            break
        run = parent
    return run.id
