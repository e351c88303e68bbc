"""`Losing`: runs of the whole stack that lose a part of it, each at points of its own, and all of them the same part at the same moment.

What kills Prefect's server kills it for every run there is. So as many runs as there is room for are brought to a point each; when all of them
stand there the part is killed and started again; whoever has another point before him goes on to that, the others to their end, and new ones begin.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from matrix.cases import ALONE
from matrix.control import PATIENCE, Hold, Point
from stopgap.engine import start
from stopgap.incidents import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matrix.bench import Bench, Ended
    from matrix.stack import People, Stack
    from stopgap.incidents.model import Run

Place = Point | str  # a step's id is the sleep at that step's gate
P = TypeVar("P", bound=Place)

AT_ONCE = 8  # objects are set up


@dataclass(frozen=True, slots=True)
class Floor:
    """The whole stack, and what is needed to kill parts of it."""

    bench: Bench
    stack: Stack
    people: People

    def start_worker(self) -> None:
        """Start the worker, or start it again after it was killed."""
        self.stack.start_worker(runbooks=self.bench.folder, control=self.bench.control.path)

    def kill(self, part: str) -> None:
        """Kill the part."""
        {"worker": self.stack.kill_worker, "server": self.stack.kill_server, "postgres": self.stack.kill_database}[part]()

    def start(self, part: str) -> None:
        """Start the part again."""
        {"worker": self.start_worker, "server": self.stack.start_server, "postgres": self.stack.start_database}[part]()


@dataclass(slots=True, eq=False)
class Trial:
    """A run of an action. `left` are the places at which it is to lose the part, in order; `lost` those at which it has.

    `missed` are places to which an unharmed run came once and this one did not, though nothing had been taken from it; `problem` says what it waits for in vain.
    """

    floor: Floor
    action: str
    left: deque[Place]
    run: Run = field(init=False)
    name: str = field(init=False)
    hold: Hold | None = None
    lost: list[Place] = field(default_factory=list)
    asked: set[Place] = field(default_factory=set)
    missed: list[Place] = field(default_factory=list)
    problem: str = ""
    has_ended: bool = False

    def begin(self) -> None:
        """Ask for the run, and hand it to Prefect."""
        self.run, self.name = self.floor.bench.request(self.action)
        self.arm()
        start.schedule(self.floor.bench.timeline, self.floor.stack.api, self.run)

    def arm(self) -> None:
        """Have the run stop at its next point, if it has one."""
        self.hold = self.floor.bench.control.arm(self.run.id, self.left[0]) if self.left and isinstance(self.left[0], Point) else None

    def is_there(self) -> bool:
        """The run is at its next place, or has ended without having come to it."""
        if self.hold and self.hold.reached.is_set():
            return True
        step = self.left[0] if isinstance(self.left[0], str) else ""
        if step and self.floor.people.sleeps_at(self.run) == step:
            return True
        return self.look(but=step)

    def look(self, *, but: str = "") -> bool:
        """Answer what the run asks, but not at that step; return whether it has ended."""
        asked = self.floor.people.asked[self.run.id]
        self.has_ended = self.has_ended or self.floor.people.look(self.run, self.name, but=but)
        if self.lost and self.floor.people.asked[self.run.id] > asked:
            self.asked.add(self.lost[-1])
        return self.has_ended

    def lose(self) -> Hold | None:
        """The part is gone: note where, look forward to the next place, and return what still holds a process at this one."""
        hold = self.hold
        self.lost.append(self.left.popleft())
        self.arm()
        return hold

    def is_over_in_prefect(self) -> bool:
        """No run stays RUNNING in Prefect with nobody behind it."""
        run = fold.find_run(self.floor.bench.timeline, self.run.id)
        return self.floor.stack.api.flow_run(run.flow_run).has_ended

    def release(self) -> None:
        """Let go whoever stands at a point."""
        if self.hold:
            self.hold.released.set()

    def give_up(self) -> deque[Place]:
        """The run has ended before its next place; return what is left for another, which begins there.

        A run that was killed goes on from what is written, and so past a point that only comes after what it had already done. What an unharmed run passes
        by is not always there: a look that found something moved, an append that had to be tried again.
        """
        rest, self.left = self.left, deque()
        if not self.lost:
            self.missed.append(rest.popleft())
        return rest

    def ended(self) -> Ended:
        """Return how the run came out, and remove its object."""
        return self.floor.bench.ended(self.action, self.run, self.name)

    def __str__(self) -> str:
        lost = f"after {', '.join(map(str, self.lost))}" if self.lost else "unharmed so far"
        return f"{self.run.id} of {self.action}, {lost}, on its way to {self.left[0] if self.left else 'its end'}"


def unharmed(floor: Floor, actions: Iterable[str]) -> dict[str, tuple[list[Place], Ended]]:
    """Let a run of each action come to its end; return the places it came to, sleeps among them, and how it ended."""
    trials = [Trial(floor, action, deque()) for action in actions]
    _begin(trials)
    _until_all(trials, Trial.look, what="does not end unharmed")
    assert [trial.problem for trial in trials if trial.problem] == []
    return {trial.action: (_places(floor, trial.run), trial.ended()) for trial in trials}


def _places(floor: Floor, run: Run) -> list[Place]:
    found: list[Place] = []
    for point in floor.bench.control.seen(run.id):
        found.append(point)
        if (point.when, point.what, point.number) == ("after", "gate.asked", 1):
            found.append(point.step)
    return found


def trips(places: Sequence[P], each: int) -> list[deque[P]]:
    """Share places out to as few runs as come to `each` of them, far from each other."""
    runs = -(-len(places) // each)
    return [deque(places[number::runs]) for number in range(runs)]


def lose(floor: Floor, part: str, plan: Iterable[tuple[str, deque[Place]]]) -> list[Trial]:
    """Let a run of each action of the plan lose the part at each of its places; return the runs when all have ended, in Prefect too."""
    waiting, begun = deque(Trial(floor, action, places) for action, places in plan), list[Trial]()
    try:
        _lose_all(floor, part, waiting, begun)
    finally:
        for trial in begun:
            trial.release()  # whoever stands at a point keeps a process from the next tests
    _until_all(begun, Trial.look, what=f"lost the {part}, and does not end")
    _until_all(begun, Trial.is_over_in_prefect, what="has ended, and Prefect does not know")
    return begun


def _lose_all(floor: Floor, part: str, waiting: deque[Trial], begun: list[Trial]) -> None:
    while waiting or any(trial.left for trial in begun if not trial.problem):
        here = [trial for trial in begun if not trial.has_ended and not trial.problem]
        here += _begin(_next(waiting, here, room=floor.stack.at_once))
        begun += [trial for trial in here if trial not in begun]
        going, leaving = [trial for trial in here if trial.left], [trial for trial in here if not trial.left]
        if not going:  # those that wait wait for these
            _until_all(leaving, Trial.look, what=f"lost the {part}, and does not end")
            continue
        _until_all(going, Trial.is_there, besides=leaving, what="never came to its place")
        waiting += [Trial(floor, trial.action, rest) for trial in going if trial.has_ended and (rest := trial.give_up())]
        standing = [trial for trial in going if not trial.has_ended and not trial.problem]
        floor.kill(part)
        for hold in [trial.lose() for trial in standing]:
            if hold:
                hold.released.set()
        floor.start(part)


def _next(waiting: deque[Trial], going: Sequence[Trial], *, room: int) -> list[Trial]:
    """Take as many as there is room for; of those whose runs wait for each other, one at a time."""
    chosen: list[Trial] = []
    alone = {trial.action for trial in going} & ALONE
    for trial in tuple(waiting):
        if len(going) + len(chosen) < room and trial.action not in alone:
            waiting.remove(trial)
            chosen.append(trial)
            alone |= {trial.action} & ALONE
    return chosen


def _begin(trials: list[Trial]) -> list[Trial]:
    """Begin them all at once: some wait for their Pods first."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(Trial.begin, trials))
    return trials


def _until_all(trials: Sequence[Trial], holds: Callable[[Trial], bool], *, what: str, besides: Sequence[Trial] = ()) -> None:
    """Wait until something holds for each of them, and look after those besides; there is nothing to wait on but looking.

    What waits in vain is let go, says so, and keeps nobody else from going on.
    """
    ends, left = time.monotonic() + PATIENCE, [trial for trial in trials if not trial.problem]
    while left := [trial for trial in left if not holds(trial)]:
        if time.monotonic() > ends:
            for trial in left:
                trial.release()
                trial.problem = f"{trial}: {what}\n{trial.floor.bench.account(trial.run)}"
            return
        for trial in besides:
            trial.look()
        time.sleep(0.3)
