"""A step with members: planned whole, asked about in one question, then carried out side by side. Each turn reads the journal, as a plain step's does.

list -> targets, locks -> plan each -> one gate -> members, so many at a time -> finished
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from stopgap.engine import crew, locking, members, parts, questions, rehearse, shared_gate
from stopgap.incidents.model import Mode, StepRecord
from stopgap.plan import members as planning
from stopgap.plan import prepare
from stopgap.problems import StopgapError
from stopgap.runbook import expressions
from stopgap.runbook.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stopgap.actions.contract import Action
    from stopgap.approvals.model import Gate
    from stopgap.engine.stage import Part, Stage
    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run
    from stopgap.runbook.model import OnFailure, Step

FAILURES = frozenset({Status.FAILED, Status.EXPIRED, Status.UNKNOWN})
_WORST = (Status.UNKNOWN, Status.FAILED, Status.EXPIRED, Status.REJECTED, Status.NOT_CHECKED, Status.DONE)


async def carry_out(work: Work, step: Step, stage: Stage) -> StepRecord:
    """Bring a group or a repeated step to its end and return what the journal says of it; without a status when somebody ended the run before."""
    while (record := await asyncio.to_thread(work.record, step.id)).status is None:
        try:
            goes_on = await _turn(work, step, stage)
        except StopgapError as error:
            await asyncio.to_thread(_close, work, step, Status.FAILED, str(error))
            goes_on = True
        if not goes_on:
            return record
    return record


def is_begun(step: Step, run: Run) -> bool:
    """Say whether something of this step has started."""
    return any(run.steps[each.id].is_started for each in members.of_run([step], run) if each.id in run.steps)


def follows(step: Step, run: Run) -> OnFailure:
    """Return what follows when a step did not end as done. In a group the members that failed say it, and where they say stop, the group."""
    if not step.parallel:
        return step.on_failure
    said = {each.on_failure for each in step.parallel if _status(run, each) in FAILURES}
    if not said:
        return step.on_failure
    return "rollback" if "rollback" in said else step.on_failure if "stop" in said else "continue"


async def _turn(work: Work, step: Step, stage: Stage) -> bool:
    """Do the next thing; False when the run is to end before anything more starts."""
    run = await asyncio.to_thread(work.run)
    if not _has_begun(step, run) and not await asyncio.to_thread(_holds, work, step):
        await asyncio.to_thread(_close, work, step, Status.SKIPPED, f"skipped, because {step.when} does not hold")
        return True
    if work.mode is Mode.DRY and (depends := _depends(step, run)):
        await asyncio.to_thread(work.finished, step, Status.NOT_CHECKED, f"{step.name}: {depends}")
        return True
    every = await asyncio.to_thread(members.read, work, step)
    whole = parts.part(work, step)
    run = await asyncio.to_thread(work.run)
    begun = [each for each in every if (found := run.steps.get(each.id)) and found.is_begun]
    rest = [each for each in every if _status(run, each) is None]
    if begun:
        await crew.carry_out(work, whole, begun, stage, most=len(begun), may_start=lambda: True)
    elif not rest or _is_stopped(step, every, run):
        await asyncio.to_thread(_finish, work, step, every)
    elif run.aborted_by:
        return False
    else:
        await _begin(work, whole, rest, every, stage)
    return True


async def _begin(work: Work, whole: Part, rest: Sequence[Step], every: Sequence[Step], stage: Stage) -> None:
    """Plan what has not started, ask about it, and carry it out as far as it goes."""
    step = whole.step
    if work.mode is not Mode.DRY and not await _approved(work, whole, rest, stage):
        return
    most = step.for_each.max_in_flight if step.for_each else len(rest)

    def may_start() -> bool:
        run = work.run()
        return not run.aborted_by and not _is_stopped(step, every, run)

    await crew.carry_out(work, whole, rest, stage, most=most, may_start=may_start)


async def _approved(work: Work, whole: Part, rest: Sequence[Step], stage: Stage) -> bool:
    """Say whether these members may start now. When not, the journal has something new: an answer, a question, or the end of a member."""
    gate = await questions.answered(work, whole, stage)
    if gate and gate.is_open:
        return False  # somebody ended the run
    if gate and gate.is_refused:
        await asyncio.to_thread(_refused, work, whole.step, gate)
        return False
    ready = await _ready(work, whole, rest, stage)
    return ready is not None and await asyncio.to_thread(shared_gate.may_go, work, whole, ready, gate)


def _refused(work: Work, step: Step, gate: Gate) -> None:
    status = Status.EXPIRED if gate.has_expired else Status.REJECTED
    _close(work, step, status, questions.why_empty(gate), ends=questions.ends(gate))


async def _ready(work: Work, whole: Part, rest: Sequence[Step], stage: Stage) -> tuple[shared_gate.Ready, ...] | None:
    """Lock and plan what has not started; None when there is something else to do first, because a member ended here."""
    actions = await asyncio.to_thread(_actions, work, whole, rest)
    if len(actions) < len(rest):
        return None
    planning.refuse_shared({part.step.id: action for part, action in actions})
    targets = frozenset().union(*(locking.targets_of(action) for _, action in actions))
    if work.mode is Mode.LIVE and not await locking.hold(work, stage, targets, step=whole.step.id):
        await asyncio.to_thread(_close, work, whole.step, Status.REJECTED, "the run was ended while it waited for a lock", ends="stop")
        return None
    asked = [each for each in actions if await asyncio.to_thread(_is_asked, work, *each)]
    ready = await asyncio.gather(*(asyncio.to_thread(_planned, work, part, action) for part, action in asked))
    return None if None in ready else tuple(each for each in ready if each)


def _actions(work: Work, whole: Part, rest: Iterable[Step]) -> list[tuple[Part, Action]]:
    """Build the members' actions; one that is not to run, or cannot be built, ends here."""
    found = []
    for member in rest:
        part = parts.part(work, member)
        record = work.record(member.id)
        try:
            if record.attempt == 0 and whole.step.parallel and not _holds(work, member):
                work.finished(member, Status.SKIPPED, f"{member.name}: skipped, because {member.when} does not hold")
            else:
                found.append((part, part.build()))
        except StopgapError as error:
            work.finished(member, Status.FAILED, f"{member.name}: {error}")
    return found


def _is_asked(work: Work, part: Part, action: Action) -> bool:
    """Say whether a member is planned for the one question. What a human does is asked by itself, and what a drill assumes away is not asked."""
    if getattr(action, "confirms", False):
        return False
    return work.mode is not Mode.DRILL or not rehearse.is_assumed_away(work, part.step)


def _planned(work: Work, part: Part, action: Action) -> shared_gate.Ready | None:
    try:
        change = questions.plan(work, part, action)
    except StopgapError as error:
        work.finished(part.step, Status.FAILED, f"{part.step.name}: {error}")
        return None
    return shared_gate.Ready(part=part, action=action, change=change, request=part.request(action, change))


def _finish(work: Work, step: Step, every: Sequence[Step]) -> None:
    """End a step whose members have ended, or of which nothing more starts."""
    run = work.run()
    records = [found for each in every if (found := run.steps.get(each.id)) and found.status]
    if not records:
        _close(work, step, Status.SKIPPED, "skipped, because its list is empty")
        return
    statuses = {each.status for each in records}
    ends = {each.ends for each in records}
    worst = next((status for status in _WORST if status in statuses), Status.SKIPPED)
    failed = [each for each in records if each.status in FAILURES]
    text = f"{sum(each.status is Status.DONE for each in records)} of {len(every)} done"
    if work.mode is not Mode.LIVE and worst is Status.NOT_CHECKED:
        text = f"{len(every)} {'member' if len(every) == 1 else 'members'}, nothing was done"
    text += "".join(f"; {each.text}" for each in failed[:1]) + (f"; and {len(failed) - 1} more did not end well" if failed[1:] else "")
    _close(work, step, worst, text, ends=next((end for end in ("undo", "stop") if end in ends), ""))


def _close(work: Work, step: Step, status: Status, text: str, *, ends: str = "") -> None:
    """Journal how a step ended, and before that, of each member that never started, that it did not."""
    run = work.run()
    for member in members.of_step(step, run):
        if _status(run, member) is None:
            end, why = (status, text) if status in {Status.REJECTED, Status.EXPIRED} else (Status.SKIPPED, "never started")
            work.finished(member, end, f"{member.name}: {why}")
    unread: dict[str, Any] = {"entries": []} if step.for_each and work.record(step.id).entries is None else {}
    work.finished(step, status, f"{step.name}: {text}", ends=ends, **unread)


def _is_stopped(step: Step, every: Sequence[Step], run: Run) -> bool:
    """Say whether nothing more may start: a member failed and does not say continue, or a person ended the step or the run at one."""
    return any(
        record.ends or (record.status in FAILURES and (not step.parallel or member.on_failure != "continue"))
        for member in every
        if (record := run.steps.get(member.id))
    )


def _has_begun(step: Step, run: Run) -> bool:
    return any(each.id in run.steps for each in members.of_step(step, run))


def _holds(work: Work, step: Step) -> bool:
    if step.when is None or work.mode is Mode.DRY:
        return True
    return expressions.holds(step.when, work.names())


def _depends(step: Step, run: Run) -> str:
    """Say in a dry run on which steps a list depends that only a real run will know."""
    ended = {str(each.id) for each in run.steps.values() if each.status not in {None, Status.NOT_CHECKED}}
    unknown = prepare.open_steps(step.for_each.items, ended) if step.for_each else ()
    return f"not planned, because its list depends on how {', '.join(unknown)} ends" if unknown else ""


def _status(run: Run, step: Step) -> Status | None:
    record = run.steps.get(step.id)
    return record.status if record else None
