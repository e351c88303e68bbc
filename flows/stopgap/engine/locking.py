"""Takes the targets a run works on, waits for those that another run holds, and gives back what it no longer needs. Live runs only."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.clock import format_duration
from stopgap.engine import members, nested
from stopgap.incidents import fold
from stopgap.incidents.model import Mode
from stopgap.plan import prepare
from stopgap.problems import StopgapError
from stopgap.runbook.model import Status
from stopgap.timeline import locks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from stopgap.actions.contract import Action
    from stopgap.engine.stage import Part, Stage
    from stopgap.engine.work import Work
    from stopgap.runbook.model import Step, StepId
    from stopgap.timeline.entry import Entry
    from stopgap.timeline.locks import Lock

_SHORTEST = timedelta(seconds=2)  # between two looks at a target that is held; doubled each time, for each may begin the flow run anew


class LockedError(StopgapError):
    """Another run holds what this one needs."""


async def hold_for_step(work: Work, part: Part, stage: Stage, action: Action) -> bool:
    """Hold the targets of a step before it is planned; False when somebody ended the run meanwhile, and the step with it.

    Raises LockedError when they were not to be had in time.
    """
    if work.mode is not Mode.LIVE or await hold(work, stage, targets_of(action), step=part.step.id):
        return True
    text = f"{part.step.name}: the run was ended while it waited for a lock"
    await asyncio.to_thread(work.finished, part.step, Status.REJECTED, text, ends="stop")
    return False


async def hold(work: Work, stage: Stage, targets: Collection[str], *, step: StepId | None = None) -> bool:
    """Hold these targets, all or none; waits as long as policy says, and returns False when somebody ends the run meanwhile."""
    while found := await asyncio.to_thread(_try, work, targets, step):
        if (await asyncio.to_thread(work.run)).aborted_by:
            await asyncio.to_thread(work.timeline.locks.forget, _owner(work))
            return False
        blocked = await asyncio.to_thread(_blocked, work, found, step)
        await stage.tell()
        waited = work.clock.now() - blocked.at
        left = work.policy.locks.wait - waited
        await asyncio.to_thread(_give_up_if_due, work, found, left)
        await stage.rest(min(max(waited, _SHORTEST), left), why=blocked.text)
    return True


def targets_of(action: Action) -> frozenset[str]:
    """Return what an action changes; what only reads needs no lock."""
    return frozenset(action.targets()) if action.effect == "changes" else frozenset()


def known(work: Work, *, steps: Iterable[Step] | None = None) -> frozenset[str]:
    """Return the targets that are known by now: of every step whose arguments render without the end of another."""
    run = work.run()
    ended = {str(record.id) for record in run.steps.values() if record.status}
    found: set[str] = set()
    for step in work.runbook.steps if steps is None else steps:
        try:
            for member in members.known(work, step):
                if member.call and not prepare.open_names(member.call, ended):
                    found |= targets_of(work.action(member.call))
        except StopgapError:
            continue  # the step itself says what is wrong with it, when its turn comes
    return frozenset(found)


def let_go(work: Work, step: Step) -> None:
    """Give back what only this step needed, because its gate expired and the run goes on without it. May be repeated."""
    if work.mode is not Mode.LIVE or work.run().within:
        return  # what a nested run holds is held by the run that it belongs to, until that ends
    others = known(work, steps=[each for each in work.runbook.steps if each.id != step.id])
    free = known(work, steps=[step]) - others
    told = sorted(free & work.run().locks)
    if told:
        work.write("lock.released", f"Gave back {', '.join(told)}", step=step.id, targets=told)
    work.timeline.locks.release(work.id, free)


def mention(work: Work) -> None:
    """Say in a dry run or a drill, which take no locks, who holds what a live run would wait for."""
    held = locks.in_the_way(work.timeline.locks.of_all(), _owner(work), known(work))
    if held:
        text = f"A live run would wait now: {_holders(work, held)}."
        work.write("note", text, key=f"lock.mentioned/{work.id}", targets=[lock.target for lock in held])


def _try(work: Work, targets: Collection[str], step: StepId | None) -> tuple[Lock, ...]:
    if not targets:
        return ()
    found = work.timeline.locks.take(_owner(work), targets)
    new = sorted(set(targets) - set(work.run().locks))
    if not found and new:
        work.write("lock.taken", f"Locked {', '.join(new)}", step=step, targets=new)
    return found


def _blocked(work: Work, found: tuple[Lock, ...], step: StepId | None) -> Entry:
    """Return the entry with which this wait began; its time is what a process that takes over goes on counting from."""
    last = next((entry for entry in reversed(work.entries()) if entry.kind in {"lock.blocked", "lock.taken"}), None)
    if last and last.kind == "lock.blocked" and last.step == (step or ""):
        return last
    wait = format_duration(work.policy.locks.wait)
    text = f"Waits at most {wait}: {_holders(work, found)}"
    return work.write("lock.blocked", text, step=step, targets=[lock.target for lock in found], holders=[lock.run for lock in found])


def _give_up_if_due(work: Work, found: tuple[Lock, ...], left: timedelta) -> None:
    owner = _owner(work)
    circle = locks.circle(work.timeline.locks.of_all(), owner)
    if left <= timedelta(0):
        why = f"and did not give it back within {format_duration(work.policy.locks.wait)}"
    elif circle and locks.gives_way(circle, owner):
        why = f"while it waits for what {work.id} holds; who began to wait last gives way"
    else:
        return
    work.timeline.locks.forget(_owner(work))
    first = found[0]
    raise LockedError(
        f"{work.id} needs {first.target}, but {_holders(work, found)}, {why}.\n"
        f"See what it does:  stopgap timeline follow {first.run.rpartition('.')[0]}\n"
        f"If nothing works on it any more:  stopgap locks break {first.target} --reason ..."
    )


def _owner(work: Work) -> str:
    return nested.id_of(work.timeline, work.run())


def _holders(work: Work, found: Iterable[Lock]) -> str:
    return "; ".join(f"{lock.run}{_runbook(work, lock.run)} holds {lock.target} since {lock.since:%H:%M:%S} UTC" for lock in found)


def _runbook(work: Work, run: str) -> str:
    found = fold.run(work.timeline.of_run(run))
    return f" ({found.runbook})" if found else ""
