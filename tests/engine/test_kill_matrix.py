"""The kill matrix: a run that is killed at any point ends as it would have, or asks; its effect at the real system happens exactly once.

The points are those that an unharmed run of the same action comes to: before and after each of its entries, and before and after what it sends.
`make matrix` tries them all with every part and writes docs/reliability.md.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures_timeline import KEY
from matrix import nursery as nurseries
from matrix import systems, table
from matrix.bench import Bench, Ended, Nursery
from matrix.cases import ALONE, CASES
from matrix.control import PATIENCE, Control, Hold, Point
from matrix.stack import People, Stack, Trial, until_all
from stopgap import home
from stopgap.actions import registry
from stopgap.engine import server, start
from stopgap.incidents import fold
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from stopgap.incidents.model import Run
    from stopgap.timeline.postgres import Server

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
pytestmark = pytest.mark.timeout(1200)  # many runs a test
IS_WHOLE = bool(os.environ.get("STOPGAP_REWRITE_MATRIX"))
STACKED = "kubernetes.scale"  # with it CI tries the points of the worker, the server and PostgreSQL: they are the same for all
AT_ONCE = 8  # runs; most of their time is waiting for Pods
MOST_PROCESSES = 5  # for one run that is killed once


@dataclass(frozen=True, slots=True)
class Killed:
    """A run that was killed at a point, and what became of it."""

    point: Point
    name: str
    ended: Ended
    asked: bool
    effects: int = 0


@dataclass(frozen=True, slots=True)
class Floor:
    """The whole stack, and what is needed to kill parts of it."""

    bench: Bench
    stack: Stack
    people: People

    def start_worker(self) -> None:
        self.stack.start_worker(runbooks=self.bench.folder, control=self.bench.control.path)


@pytest.fixture(scope="module")
def env(database_server: Server) -> Iterator[dict[str, str]]:
    """The environment of every process of the matrix."""
    database_server.create_database("matrix")
    clean = {name: value for name, value in server.scrubbed(os.environ).items() if not name.startswith("STOPGAP_")}
    with home.temporary() as folder:
        ours = {"STOPGAP_HOME": str(folder), "STOPGAP_DATABASE_URL": database_server.url("matrix"), "STOPGAP_TIMELINE_KEY": KEY}
        yield {**clean, **ours}


@pytest.fixture(scope="module")
def bench(env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("matrix")
    with (
        pytest.MonkeyPatch.context() as patch,
        systems.all_of_them(folder / "world", env) as found,
        Control(folder / "control") as control,
    ):
        for name in ("STOPGAP_HOME", "STOPGAP_DATABASE_URL", "STOPGAP_TIMELINE_KEY"):
            patch.setenv(name, env[name])
        with opening.timeline() as timeline:
            made = Bench(folder, timeline, found, control)
            systems.write_policy(made.policy, found, {})
            made.write_runbooks()
            yield made


@pytest.fixture(scope="module")
def nursery(bench: Bench, env: dict[str, str]) -> Iterator[Nursery]:
    with Nursery(bench, env) as nursery:
        yield nursery


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    """Everything that `stopgap up` starts, in parts."""
    folder = tmp_path_factory.mktemp("stack")
    clean = {name: value for name, value in server.scrubbed(os.environ).items() if not name.startswith("STOPGAP_")}
    with home.temporary() as data, pytest.MonkeyPatch.context() as patch:
        env = {**clean, "STOPGAP_HOME": str(data), "STOPGAP_TIMELINE_KEY": KEY}
        with (
            systems.all_of_them(folder / "world", env) as found,
            Control(folder / "control", only="stopgap run") as control,
            Stack(data, env) as stack,
        ):
            ours = {"STOPGAP_HOME": str(data), "STOPGAP_TIMELINE_KEY": KEY, "STOPGAP_DATABASE_URL": stack.database.url("stopgap")}
            for name, value in ours.items():
                patch.setenv(name, value)
            stack.env = {**env, **ours}
            with opening.timeline() as timeline:
                bench = Bench(folder / "runbooks", timeline, found, control)
                bench.folder.mkdir()
                systems.write_policy(bench.policy, found, {})
                bench.write_runbooks()
                made = Floor(bench, stack, People(bench, stack))
                made.start_worker()
                yield made


@pytest.fixture(scope="module")
def results() -> Iterator[list[table.Result]]:
    """What the tests found; written to the page only when that was asked for, and only whole."""
    found: list[table.Result] = []
    yield found
    if os.environ.get("STOPGAP_REWRITE_MATRIX"):
        table.write(PAGE, found)


@pytest.mark.parametrize("action", registry.names())
def test_a_child_killed_at_any_point_costs_nothing(bench: Bench, nursery: Nursery, results: list[table.Result], action: str) -> None:
    assert action in CASES, f"The action {action} has no case in tests/matrix/cases.py: say there how it is tried."
    if missing := CASES[action].lacks(bench.systems):
        pytest.skip(missing)
    if CASES[action].rare and not IS_WHOLE:
        pytest.skip(CASES[action].rare)
    points, expected = reference(bench, nursery, action)
    points = points if IS_WHOLE else one_in_each_gap(points, registry.names().index(action))
    with ThreadPoolExecutor(1 if action in ALONE else AT_ONCE) as pool:
        found = list(pool.map(lambda point: killed(bench, nursery, action, point), points))
    effects = bench.systems.effects()
    wrong = [
        f"killed {each.point}: {effects[each.name]} effects, {each.ended}"
        for each in found
        if each.ended != expected or effects[each.name] != CASES[action].effects
    ]
    assert wrong == [], f"unharmed: {CASES[action].effects} effects, {expected}"
    assert bench.timeline.verify().damages == ()
    results += [
        table.Result(part="child", action=action, point=each.point, where=CASES[action].where(bench.systems), asked=each.asked)
        for each in found
    ]


@pytest.mark.parametrize("part", table.PARTS if IS_WHOLE else table.PARTS[1:])
@pytest.mark.parametrize("action", registry.names() if IS_WHOLE else [STACKED])
def test_a_part_killed_at_any_point_costs_nothing(floor: Floor, results: list[table.Result], action: str, part: str) -> None:
    if missing := CASES[action].lacks(floor.bench.systems):
        pytest.skip(missing)
    points, expected = whole_reference(floor, action)
    chosen: list[Point | str] = [*(points if IS_WHOLE else one_in_each_gap(points, table.PARTS.index(part)))]
    if part != "child":  # a run that sleeps has none
        chosen += [step for step in ("act", "act.undo") if Point("after", "gate.asked", step) in points]
    found = [trial for batch in batches(chosen, floor.stack.at_once) for trial in lose(floor, action, part, batch)]
    effects = floor.bench.systems.effects()
    wrong = [
        f"lost the {part} {each.point}: {effects[each.name]} effects, {ended}"
        for each in found
        if (ended := floor.bench.ended(action, each.run, each.name)) != expected or effects[each.name] != CASES[action].effects
    ]
    assert wrong == [], f"unharmed: {CASES[action].effects} effects, {expected}"
    assert floor.bench.timeline.verify().damages == ()
    results += [
        table.Result(
            part=part,
            action=action,
            point=each.point,
            where=CASES[action].where(floor.bench.systems),
            asked=each.run.id in floor.people.asked,
        )
        for each in found
    ]


def whole_reference(floor: Floor, action: str) -> tuple[list[Point], Ended]:
    """Let a run come to its end unharmed on the whole stack; return the points it came to, and how it ended."""
    run, name = floor.bench.request(action)
    start.schedule(floor.bench.timeline, floor.stack.api, run)
    trial = Trial(action, run, name, "", None)
    until_all([trial], lambda trial: floor.people.look(trial.run, trial.name), what="does not end unharmed")
    return floor.bench.control.seen(run.id), floor.bench.ended(action, run, name)


def batches(points: list[Point | str], size: int) -> list[list[Point | str]]:
    """Cut into as many at once as there is room for."""
    return [points[index : index + size] for index in range(0, len(points), size)]


def lose(floor: Floor, action: str, part: str, points: list[Point | str]) -> list[Trial]:
    """Bring a run to each of the points, let them all lose a part there, and wait for the end of each."""
    bench, stack = floor.bench, floor.stack
    trials = []
    for point in points:
        run, name = bench.request(action)
        hold = None if isinstance(point, str) else bench.control.arm(run.id, point)
        start.schedule(bench.timeline, stack.api, run)
        trials.append(Trial(action, run, name, point, hold))
    holds = [trial.hold for trial in trials if trial.hold]
    try:
        until_all(trials, lambda trial: trial.is_there(floor.people), what="never came to its point")
    except AssertionError:
        for hold in holds:
            hold.released.set()  # whoever stands at a point keeps a process from the next tests
        raise
    kill(floor, part, holds)
    until_all(trials, lambda trial: floor.people.look(trial.run, trial.name), what=f"lost the {part}, and does not end")
    until_all(trials, lambda trial: has_ended_in_prefect(floor, trial.run), what="has ended, and Prefect does not know")
    return trials


def kill(floor: Floor, part: str, holds: list[Hold]) -> None:
    """Kill the part while everybody stands at his point, let go whoever lives, and start the part again."""
    stack = floor.stack
    if part == "child":
        for hold in holds:
            os.kill(hold.pid, signal.SIGKILL)
    else:
        {"worker": stack.kill_worker, "server": stack.kill_server, "postgres": stack.kill_database}[part]()
    for hold in holds:
        hold.released.set()
    if part == "worker":
        floor.start_worker()
    elif part != "child":
        {"server": stack.start_server, "postgres": stack.start_database}[part]()


def has_ended_in_prefect(floor: Floor, run: Run) -> bool:
    """No run stays RUNNING in Prefect with nobody behind it."""
    return floor.stack.api.flow_run(fold.find_run(floor.bench.timeline, run.id).flow_run).has_ended


def one_in_each_gap(points: list[Point], which: int) -> list[Point]:
    """Leave one point between any two things that last: right after the one, or right before the next, in turn and differently by action."""
    first, *others = points
    gaps = [others[index : index + 2] for index in range(0, len(others), 2)]
    return [first, *(gap[(which + number) % len(gap)] for number, gap in enumerate(gaps))]


def reference(bench: Bench, nursery: Nursery, action: str) -> tuple[list[Point], Ended]:
    """Let a run come to its end unharmed; return the points it came to, and how it ended."""
    run, name = bench.request(action)
    _, code = nursery.carry_out(action, run)
    assert code.result(PATIENCE) == nurseries.ENDED
    ended = bench.ended(action, run, name)
    assert (ended.steps["act"], ended.steps.get("act.undo", "done")) == ("done", "done"), bench.account(run)
    assert bench.systems.effects()[name] == CASES[action].effects, bench.account(run)
    return bench.control.seen(run.id), ended


def killed(bench: Bench, nursery: Nursery, action: str, point: Point) -> Killed:
    """Kill the process of a new run at a point, and let others go on until the run has ended."""
    run, name = bench.request(action)
    hold = bench.control.arm(run.id, point)
    pid, first = nursery.carry_out(action, run)
    assert arrives(hold, first), f"{action} never came to this point: {point}\n{bench.account(run)}\n{bench.control.seen(run.id)}"
    assert hold.pid == pid
    os.kill(pid, signal.SIGKILL)
    hold.released.set()
    assert first.result(PATIENCE) == -signal.SIGKILL
    asked = go_on(bench, nursery, action, run, name)
    return Killed(point, name, bench.ended(action, run, name), asked)


def arrives(hold: Hold, first: Future[int]) -> bool:
    """Wait until a process stands at its point; false when it ended before."""
    ends = time.monotonic() + PATIENCE
    while not hold.reached.wait(0.1):
        if first.done() or time.monotonic() > ends:
            return hold.reached.is_set()
    return True


def go_on(bench: Bench, nursery: Nursery, action: str, run: Run, name: str) -> bool:
    """Start a process for the run until it has ended; say whether it had to ask what became of its effect."""
    for count in range(MOST_PROCESSES):
        _, code = nursery.carry_out(action, run)
        if code.result(PATIENCE) == nurseries.ENDED:
            return count > 0
        assert code.result() == nurseries.ASKS
        bench.answer_doubt(run, name)
    raise AssertionError(f"{run.id} of {action} does not end")
