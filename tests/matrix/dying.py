"""Runs without Prefect whose process is killed, each at points of its own, one after the other, and goes on in another process."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from matrix import nursery as nurseries
from matrix.cases import ALONE, CASES
from matrix.control import PATIENCE
from matrix.losing import trips

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from matrix.bench import Bench, Ended, Nursery
    from matrix.control import Hold, Point
    from stopgap.incidents.model import Run

AT_ONCE = 8  # runs; much of their time is waiting for Pods
MOST_QUESTIONS = 5  # that a run asks after one kill


@dataclass(slots=True)
class Dying:
    """A run. `lost` are the points at which its process was killed, in order, `asked` those of them after which it asked what became of its effect.

    `missed` are points to which an unharmed run came once and this one did not, though nobody had killed it: a look that found something moved.
    """

    bench: Bench
    nursery: Nursery
    action: str
    run: Run = field(init=False)
    name: str = field(init=False)
    lost: list[Point] = field(default_factory=list)
    asked: set[Point] = field(default_factory=set)
    missed: list[Point] = field(default_factory=list)
    outcome: Ended = field(init=False)

    def __post_init__(self) -> None:
        """Set up an object of its own, and ask for the run."""
        self.run, self.name = self.bench.request(self.action)

    def die(self, at: Sequence[Point]) -> Sequence[Point]:
        """Kill its process at each of these points, and let it come to its end; return those that are left for another.

        A run that was killed goes on from what is written, and so past a point that only comes after what it had already done.
        """
        left = deque(at)
        while left:
            if not self._dies(left[0]):
                if not self.lost:
                    self.missed.append(left.popleft())
                break
            self.lost.append(left.popleft())
        else:
            self._goes_on(None)
        self.outcome = self.bench.ended(self.action, self.run, self.name)
        return left

    def _dies(self, point: Point) -> bool:
        """Let it go on to a point and kill it there; false when it ended before."""
        hold = self.bench.control.arm(self.run.id, point)
        pid, code = self._goes_on(hold)
        if not hold.reached.is_set():
            return False
        assert hold.pid == pid
        os.kill(pid, signal.SIGKILL)
        hold.released.set()
        assert code.result(PATIENCE) == -signal.SIGKILL
        return True

    def _goes_on(self, hold: Hold | None) -> tuple[int, Future[int]]:
        """Start processes for it, and answer what they ask, until one stands at its point or has ended the run."""
        for _ in range(MOST_QUESTIONS):
            pid, code = self.nursery.carry_out(self.action, self.run)
            if hold and _arrives(hold, code):
                return pid, code
            if code.result(PATIENCE) == nurseries.ENDED:
                return pid, code
            assert code.result() == nurseries.ASKS, f"{self}: its process ended with {code.result()}"
            self.bench.answer_doubt(self.run, self.name)
            self.asked.update(self.lost[-1:])
        raise AssertionError(f"{self}: it asks and asks\n{self.bench.account(self.run)}")

    def __str__(self) -> str:
        return f"{self.run.id} of {self.action}, killed {', '.join(map(str, self.lost)) or 'nowhere'}"


@dataclass(frozen=True, slots=True)
class Died:
    """What became of the runs of an action: `points` and `unharmed` are where the run came by that nobody killed, and how it ended."""

    points: Sequence[Point]
    unharmed: Ended
    runs: Sequence[Dying]


def everywhere(bench: Bench, nursery: Nursery, action: str, *, most: int) -> Died:
    """Let a run of the action come to its end, and kill others at each point that it came to, the same run at most so often."""
    first = Dying(bench, nursery, action)
    assert not first.die(at=())
    assert (first.outcome.steps["act"], first.outcome.steps.get("act.undo", "done")) == ("done", "done"), bench.account(first.run)
    assert bench.systems.effects()[first.name] == CASES[action].effects, bench.account(first.run)

    def kill(places: Sequence[Point]) -> list[Dying]:
        found = []
        while places:
            found.append(Dying(bench, nursery, action))
            places = found[-1].die(at=places)
        return found

    points = bench.control.seen(first.run.id)
    with ThreadPoolExecutor(1 if action in ALONE else AT_ONCE) as pool:
        return Died(points, first.outcome, [run for runs in pool.map(kill, trips(points, most)) for run in runs])


def _arrives(hold: Hold, process: Future[int]) -> bool:
    """Wait until a process stands at its point; false when it ended before."""
    ends = time.monotonic() + PATIENCE
    while not hold.reached.wait(0.05):
        if process.done() or time.monotonic() > ends:
            return hold.reached.is_set()
    return True
