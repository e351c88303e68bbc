"""Planning a step against the live state, one attempt to carry it out, and its verification. Blocking; runs in a thread."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.actions.contract import Change, ConflictError, InDoubtError, PermanentError, TemporaryError
from stopgap.engine import pace
from stopgap.engine.work import LOOK
from stopgap.plan import limits
from stopgap.problems import LeaveRunError
from stopgap.runbook.model import Status

if TYPE_CHECKING:
    from stopgap.actions.contract import Action, Context, Outcome
    from stopgap.engine.stage import Part
    from stopgap.engine.work import Work

CONFLICTS = 5  # how often somebody else's write between our read and ours is answered by reading again


def plan(work: Work, part: Part, action: Action) -> Change:
    """Read the live state, within policy's limits; a system that does not answer is asked again as the step's `retry` says.

    Raises PermanentError when it never answered or refuses, LimitError when policy does not allow what would be.
    """
    step = part.step
    left = tries(part)
    while True:
        left -= 1
        try:
            change = action.plan(work.context(mark=work.mark(step.id, work.record(step.id).attempt + 1), within=LOOK))
        except TemporaryError as error:
            if left <= 0:
                raise PermanentError(str(error)) from error
            work.clock.sleep(_pause(part, error).total_seconds())
        else:
            limits.check(work.policy, action, change, step=step.id, moment=pace.moment(work, step.id))
            return change


def make(work: Work, part: Part, action: Action, change: Change) -> None:
    """Make one attempt. Afterwards the journal says: applied and verified, failed, to be tried again, or in doubt."""
    step = part.step
    number = pace.start(work, step, action, change)
    context = work.context(mark=work.mark(step.id, number), within=step.timeout or action.default_timeout)
    try:
        outcome = _apply(work, action, context, change)
    except LeaveRunError:
        raise
    except TemporaryError as error:
        _nothing_happened(work, part, error, number)
    except PermanentError as error:
        work.finished(step, Status.FAILED, f"{step.name}: {error}")
    except InDoubtError as error:
        work.write("step.note", f"{step.name}: in doubt: {error}", step=step.id)
    except Exception as error:  # noqa: BLE001  whatever else escapes is the action's bug, and its effect may have happened
        work.write("step.note", f"{step.name}: this is a bug in action {action.name}: {type(error).__name__}: {error}", step=step.id)
    else:
        work.applied(step, outcome.summary, attempt=number, output=outcome.data)
        verify(work, part)


def _apply(work: Work, action: Action, context: Context, change: Change) -> Outcome:
    """Apply; where something was not permitted to be sent, that is what is raised, whatever the action makes of it."""
    try:
        return action.apply(context, change)
    except Exception as error:
        if work.hold and work.hold.refusal:
            raise work.hold.refusal from error
        raise


def verify(work: Work, part: Part) -> None:
    """Let a step that was applied end: done when what it verifies holds, failed when it does not."""
    step, record = part.step, work.record(part.step.id)
    if step.verify is None:
        work.finished(step, Status.DONE, f"{step.name}: {record.applied}", output=dict(record.output))
        return
    check = work.action(step.verify)
    context = work.context(mark=work.mark(step.id, record.attempt), within=step.verify_timeout or check.default_timeout)
    try:
        outcome = check.apply(context, check.plan(context))
    except (TemporaryError, PermanentError, InDoubtError) as error:
        work.finished(step, Status.FAILED, f"{step.name}: {record.applied}, but it did not help: {error}", output=dict(record.output))
        return
    work.write("step.verified", f"{step.name}: {outcome.summary}", step=step.id, key=f"step.verified/{work.id}/{step.id}")
    work.finished(step, Status.DONE, f"{step.name}: {record.applied}; {outcome.summary}", output=dict(record.output))


def tries(part: Part) -> int:
    """Return how often a step may be tried."""
    return part.step.retry.attempts if part.step.retry else 1


def _nothing_happened(work: Work, part: Part, error: TemporaryError, number: int) -> None:
    step = part.step
    excused = isinstance(error, ConflictError) and work.record(step.id).excused < CONFLICTS
    work.retried(step, f"{step.name}: {error}", attempt=number, excused=excused)
    record = work.record(step.id)
    if record.attempt - record.excused >= tries(part):
        work.finished(step, Status.FAILED, f"{step.name}: {error}{_after(record.attempt)}")
    elif not excused:
        work.clock.sleep(_pause(part, error).total_seconds())


def _after(attempts: int) -> str:
    return f" (after {attempts} attempts)" if attempts > 1 else ""


def _pause(part: Part, error: TemporaryError) -> timedelta:
    return error.retry_after or (part.step.retry.delay if part.step.retry else timedelta(0))


def only_reads(action: Action) -> bool:
    """An action that reads and waits for nothing is carried out in dry runs and drills too: its output is real."""
    return action.effect == "reads" and not action.waits
