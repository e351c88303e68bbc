"""The kill matrix: a run that is killed at any point ends as it would have, or asks; its effect at the real system happens exactly once.

The points are those that an unharmed run of the same action comes to: before and after each of its entries, and before and after what it sends.
`make matrix` tries them all with every part and writes docs/reliability.md. With `make matrix POINTS=gaps` the worker, the server and PostgreSQL are lost at one of each
two between which nothing lasts; with `POINTS=thirds` at each of those one of the three is.
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
from matrix import losing, systems, table
from matrix import nursery as nurseries
from matrix.bench import Bench, Ended, Nursery
from matrix.case import IS_WHOLE, POINTS
from matrix.cases import ALONE, CASES
from matrix.control import PATIENCE, Control, Hold, Point
from matrix.losing import Floor
from matrix.stack import People, Stack
from stopgap import home
from stopgap.actions import registry
from stopgap.engine import server
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from matrix.losing import Place
    from stopgap.incidents.model import Run
    from stopgap.timeline.postgres import Server

    Unharmed = dict[str, tuple[list[Place], Ended]]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
FOUND = ROOT / ".cache" / "matrix.json"
pytestmark = pytest.mark.timeout(6 * 3600 if IS_WHOLE else 1200)  # many runs a test
STACKED = "kubernetes.scale"  # with it CI tries the points of the worker, the server and PostgreSQL: they are the same for all
AT_ONCE = 8  # runs; most of their time is waiting for Pods
MOST_PROCESSES = 5  # for one run that is killed once
MOST_KILLS = 10  # of the same run in the whole table, far from each other; in CI each run loses a part once


@dataclass(frozen=True, slots=True)
class Killed:
    """A run that was killed at a point, and what became of it."""

    point: Point
    name: str
    ended: Ended
    asked: bool
    effects: int = 0


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
def unharmed(floor: Floor) -> Unharmed:
    """Where a run of each action comes by on the whole stack, and how it ends, when nothing is killed."""
    actions = registry.names() if IS_WHOLE else [STACKED]
    return losing.unharmed(floor, [action for action in actions if not CASES[action].lacks(floor.bench.systems)])


@pytest.fixture(scope="module")
def results() -> Iterator[list[table.Result]]:
    """What the tests found; written to the page only when that was asked for."""
    found: list[table.Result] = []
    yield found
    if POINTS and found:
        table.write(PAGE, table.remember(FOUND, found))


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


@pytest.mark.parametrize("part", table.PARTS[1:])  # the child's part is above
def test_a_part_killed_at_any_point_costs_nothing(floor: Floor, unharmed: Unharmed, results: list[table.Result], part: str) -> None:
    plan = [
        (action, trip)
        for action, (places, _) in unharmed.items()
        for trip in losing.trips(places_of(part, action, places), MOST_KILLS if IS_WHOLE else 1)
    ]
    plan.sort(key=lambda each: each[0] not in ALONE)  # those that wait for each other take longest
    trials = losing.lose(floor, part, plan)
    effects = floor.bench.systems.effects()
    wrong = {
        trial: trial.problem or f"{trial}, which lost the {part}: {effects[trial.name]} effects, {ended}\n{floor.bench.account(trial.run)}"
        for trial in trials
        if trial.problem or (ended := trial.ended()) != unharmed[trial.action][1] or effects[trial.name] != CASES[trial.action].effects
    }
    sound = set(unharmed) - {trial.action for trial in wrong}
    assert floor.bench.timeline.verify().damages == ()
    results += [
        table.Result(
            part=part,
            action=trial.action,
            point=place,
            where=CASES[trial.action].where(floor.bench.systems),
            asked=place in trial.asked,
            missed=place in trial.missed,
        )
        for trial in trials
        for place in (*trial.lost, *trial.missed)
        if trial.action in sound
    ]
    assert not wrong, "\n\n".join(wrong.values())


def places_of(part: str, action: str, places: Sequence[Place]) -> list[Place]:
    """The points at which a part is killed, and the sleeps.

    A process that lives on is not held while it waits for what it reads: to its call that is a service that does not answer in time, and the step fails for that.
    """
    points = [place for place in places if isinstance(place, Point)]
    if part in {"server", "postgres"}:
        points = [point for point in points if not (point.when == "after" and ": GET " in point.what)]
    which = table.PARTS.index(part) + registry.names().index(action)
    if POINTS != "every":
        points = one_in_each_gap(points, which)
    if POINTS == "thirds":
        points = points[which % 3 :: 3]
    return [place for place in places if place in points or isinstance(place, str)]


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
