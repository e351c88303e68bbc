"""The kill matrix: a run that is killed at any point ends as it would have, or asks; its effect at the real system happens exactly once.

The points are those that an unharmed run of the same action comes to: before and after each of its entries, and before and after what it sends.
CI kills the process of the run at all of them, with every action; and the worker, Prefect's server and PostgreSQL with one action, at one of each two points
between which nothing lasts. `make matrix` tries every action and point with every part and writes docs/reliability.md. With `make matrix POINTS=gaps` the three are
lost at as few points as in CI; with `POINTS=thirds` at each of those one of the three is.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures_timeline import KEY
from matrix import dying, losing, systems, table
from matrix.bench import Bench, Ended, Nursery
from matrix.case import IS_WHOLE, POINTS
from matrix.cases import ALONE, CASES
from matrix.control import Control, Point
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
    from stopgap.timeline.postgres import Server

    Unharmed = dict[str, tuple[list[Place], Ended]]
    Killed = dict[str, Future[dying.Died]]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
FOUND = ROOT / ".cache" / "matrix.json"
pytestmark = pytest.mark.timeout(6 * 3600 if IS_WHOLE else 1200)  # many runs a test
STACKED = "kubernetes.scale"  # with it CI tries the points of the worker, the server and PostgreSQL: they are the same for all
AT_ONCE = 2  # actions whose children are killed
MOST_KILLS = 10  # of the same run, far from each other
SOME_KILLS = 4  # the same of PostgreSQL, without which runs end in Prefect and go on later and later; and in CI, where there are few runs


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
def killed(request: pytest.FixtureRequest, bench: Bench, env: dict[str, str]) -> Iterator[Killed]:
    """What becomes of the children of each action that is tried, some actions at a time: much of it is waiting for Pods."""
    tried = [
        item.callspec.params.get("action")
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    with Nursery(bench, env) as nursery, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            action: pool.submit(dying.everywhere, bench, nursery, action, most=MOST_KILLS)
            for action in CASES
            if action in tried and not CASES[action].lacks(bench.systems)
        }
        pool.shutdown(cancel_futures=True)


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
def test_a_child_killed_at_any_point_costs_nothing(bench: Bench, killed: Killed, results: list[table.Result], action: str) -> None:
    assert action in CASES, f"The action {action} has no case in tests/matrix/cases.py: say there how it is tried."
    if missing := CASES[action].lacks(bench.systems):
        pytest.skip(missing)
    died = killed[action].result()
    effects = bench.systems.effects()
    wrong = [
        f"{run}: {effects[run.name]} effects, {run.outcome}"
        for run in died.runs
        if run.outcome != died.unharmed or effects[run.name] != CASES[action].effects
    ]
    assert wrong == [], f"unharmed: {CASES[action].effects} effects, {died.unharmed}"
    assert Counter(point for run in died.runs for point in (*run.lost, *run.missed)) == Counter(died.points)
    assert_most_were_come_to(died.runs)
    assert bench.timeline.verify().damages == ()
    where = CASES[action].where(bench.systems)
    results += [
        table.Result(part="child", action=action, point=point, where=where, asked=point in run.asked, missed=point in run.missed)
        for run in died.runs
        for point in (*run.lost, *run.missed)
    ]


@pytest.mark.parametrize("part", table.PARTS[1:])  # the child's part is above
def test_a_part_killed_at_any_point_costs_nothing(floor: Floor, unharmed: Unharmed, results: list[table.Result], part: str) -> None:
    plan = [
        (action, trip)
        for action, (places, _) in unharmed.items()
        for trip in losing.trips(places_of(part, action, places), MOST_KILLS if IS_WHOLE and part != "postgres" else SOME_KILLS)
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
    assert_most_were_come_to(trials)


def assert_most_were_come_to(runs: Sequence[dying.Dying | losing.Trial]) -> None:
    """What only the unharmed run came to is listed, and must be the exception."""
    lost = [place for run in runs for place in run.lost]
    missed = [place for run in runs for place in run.missed]
    assert len(missed) <= len(lost) / 5, f"killed at {len(lost)} points; not come to again: {', '.join(map(str, missed))}"


def places_of(part: str, action: str, places: Sequence[Place]) -> list[Place]:
    """The points at which a part is killed, and the sleeps."""
    points = [place for place in places if isinstance(place, Point)]
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
