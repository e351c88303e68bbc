"""Several members at work side by side, and the stage they share: they ask one at a time, and leave the process only together."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stopgap.approvals import decide
from stopgap.approvals import gate as gates
from stopgap.engine import life, parts, questions
from stopgap.engine.stage import LOCKED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from stopgap.approvals.model import Gate
    from stopgap.engine.stage import Part, Stage
    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run
    from stopgap.runbook.model import Step, StepId

POLL = 1.0  # seconds between two looks at a question while others still work


async def carry_out(work: Work, whole: Part, members: Sequence[Step], stage: Stage, *, most: int, may_start: Callable[[], bool]) -> None:  # noqa: PLR0913  how they are carried out
    """Carry members out, `most` at a time, in order. Nothing new starts once `may_start` says no, nor while a question is open.

    What has started is brought to its end. Returns early, with what has not started left as it is, when the change of one is no longer
    the one approved. Whatever ends the process's part in the run ends all of them: the journal says where each was.
    """
    floor = Floor(work=work, stage=stage, first=await asyncio.to_thread(_asking, work, members))
    waiting = deque(members)
    try:
        while True:
            while waiting and len(floor.running) < most and not floor.is_asking and not floor.is_void:
                if not await asyncio.to_thread(may_start):
                    waiting.clear()
                    break
                floor.begin(whole, waiting.popleft())
            if not floor.running:
                return
            await floor.next_end()
            await stage.tell()
    finally:
        await floor.clear()


def _asking(work: Work, members: Sequence[Step]) -> StepId | None:
    """Return the member whose question was open when the process before this one ended: it goes on asking before any other."""
    gate = gates.waiting(work.entries())
    return gate.step if gate and gate.step in {member.id for member in members} else None


@dataclass(slots=True, kw_only=True)
class Floor:
    """Where members work: the `Stage` of each. `quiet` are those that wait for people, or for their turn to ask."""

    work: Work
    stage: Stage
    first: StepId | None
    running: dict[StepId, asyncio.Task[None]] = field(default_factory=dict)
    quiet: set[StepId] = field(default_factory=set)
    is_void: bool = False
    is_closed: bool = False
    asks: StepId | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def is_asking(self) -> bool:
        """Somebody waits for people."""
        return bool(self.quiet)

    def begin(self, whole: Part, member: Step) -> None:
        """Let a member begin."""
        part = replace(parts.part(self.work, member), within=whole, turn=Turn(self, member.id))
        self.running[member.id] = asyncio.create_task(self._life(part))

    async def next_end(self) -> None:
        """Wait until a member ended; looks again after a while, because a question may have been answered meanwhile."""
        done, _ = await asyncio.wait(self.running.values(), timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            self.running = {name: each for name, each in self.running.items() if each is not task}
        for error in [task.exception() for task in done]:
            if error is not None:
                raise error

    async def clear(self) -> None:
        """Let nobody go on by themselves. What runs in a thread cannot be stopped: it is waited for, for it writes down what it did."""
        self.is_closed = True
        while working := [task for name, task in self.running.items() if name not in self.quiet and not task.done()]:
            await asyncio.wait(working, timeout=POLL)
        for task in self.running.values():
            task.cancel()
        await asyncio.gather(*self.running.values(), return_exceptions=True)

    async def wait(self, part: Part, gate: Gate) -> Gate:
        """Wait for an answer here as long as others work; after that as the stage below does."""
        while gate.is_open and self.running.keys() - self.quiet:
            await asyncio.sleep(POLL)
            gate = await asyncio.to_thread(self._settled, gate)
        return await self.stage.wait(part, gate) if gate.is_open else gate

    async def rest(self, pause: timedelta, *, why: str, state: str = LOCKED) -> None:
        """Wait in the process while others work in it."""
        if len(self.running) > 1:
            await asyncio.sleep(min(pause.total_seconds(), POLL))
        else:
            await self.stage.rest(pause, why=why, state=state)

    async def begin_run(self, run: Run) -> None:
        """Let it begin where the stage below does."""
        await self.stage.begin_run(run)

    async def show(self, part: Part, body: Callable[[], None]) -> None:
        """Do the work where the stage below does."""
        await self.stage.show(part, body)

    async def tell(self) -> None:
        """Show the timeline where the stage below does."""
        await self.stage.tell()

    async def _life(self, part: Part) -> None:
        try:
            await life.carry_out(self.work, part, self)
        except questions.NotApprovedError:
            self.is_void = True
        finally:
            await self.leave(part.step.id)

    async def leave(self, name: StepId) -> None:
        """Let the next one ask: `name` has nothing more to ask, now."""
        async with self.changed:
            self.asks = None if self.asks == name else self.asks
            self.first = None if self.first == name else self.first
            self.changed.notify_all()

    def _settled(self, gate: Gate) -> Gate:
        found = gates.latest(self.work.entries(), gate.step) or gate
        return decide.settle(self.work.timeline, self.work.clock, run=self.work.run(), gate=found)


@dataclass(frozen=True, slots=True)
class Turn:
    """A member's turn to ask: whoever asked before this process began comes first, and nobody's comes once the process is left."""

    floor: Floor
    name: StepId

    async def __aenter__(self) -> None:
        """Wait for it."""
        floor = self.floor
        floor.quiet.add(self.name)
        async with floor.changed:
            await floor.changed.wait_for(self._may_ask)
            floor.asks = self.name

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Give it to the next."""
        self.floor.is_closed |= error is not None
        self.floor.quiet.discard(self.name)
        await self.floor.leave(self.name)

    def _may_ask(self) -> bool:
        floor = self.floor
        return not floor.is_closed and floor.asks is None and floor.first in {None, self.name}
