"""A run that Prefect shows as running and that nobody carries out begins again, by the hand of one worker."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from prefect.client.schemas.objects import StateType
from prefect.exceptions import Abort
from prefect.states import Pending, Running

from fixtures_engine import Ahead, no_policy, texts
from stopgap.engine.api import Api
from stopgap.engine.sweep import Sweeper
from stopgap.timeline.leases import Terms

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from fixtures_engine import Bench
    from fixtures_waiting import Waiting
    from stopgap.engine.server import PrefectServer

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
TERMS = Terms(length=timedelta(seconds=10), longest_call=timedelta(seconds=30))
NOW = Ahead(timedelta(0))


@pytest.fixture
def api(prefect_server: PrefectServer) -> Api:
    return Api(url=prefect_server.api_url, auth=prefect_server.auth)


def runs_elsewhere(waiting: Waiting, bench: Bench, *, died: timedelta | None) -> None:
    """Somebody approved, and a process on another machine carries the run out; it died so long ago, or lives."""
    waiting.answer()
    waiting.client.set_flow_run_state(waiting.flow_run, Running(), force=True)
    bench.timeline.leases.take(waiting.work.id, "another", place="elsewhere, process 7", terms=TERMS)
    with bench.timeline.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE lease SET renewed = renewed - %(by)s, free = free - %(by)s", {"by": died or timedelta(0)})


def test_of_several_workers_that_see_a_lost_run_one_takes_it_over(waiting: Waiting, bench: Bench, api: Api) -> None:
    runs_elsewhere(waiting, bench, died=timedelta(minutes=1))
    with ThreadPoolExecutor(4) as pool:
        for found in [pool.submit(Sweeper(api, bench.timeline, NOW, no_policy)) for _ in range(4)]:
            found.result()
    assert waiting.state().type is StateType.SCHEDULED
    said = texts(waiting.work, "run.taken_over")
    assert len(said) == 1
    assert said[0].startswith(f"{waiting.work.id} goes on: elsewhere, process 7 carried it out and was last heard of at ")
    state = waiting.execute()
    assert state
    assert state.type is StateType.COMPLETED
    assert bench.replicas() == 4
    assert len(texts(waiting.work, "run.taken_over")) == 1


def test_a_run_whose_process_lives_elsewhere_is_left_alone(waiting: Waiting, bench: Bench, api: Api) -> None:
    runs_elsewhere(waiting, bench, died=None)
    Sweeper(api, bench.timeline, Ahead(timedelta(minutes=10)), no_policy)()
    assert waiting.state().type is StateType.RUNNING
    assert texts(waiting.work, "run.taken_over") == []


@pytest.mark.parametrize(("state", "patience"), [(Running(), 10), (Pending(), 40)], ids=["running at its gate", "pending"])
def test_a_run_that_nobody_ever_took_begins_again_after_a_while(
    waiting: Waiting, bench: Bench, api: Api, state: State, patience: int
) -> None:
    waiting.answer()
    waiting.client.set_flow_run_state(waiting.flow_run, state, force=True)
    Sweeper(api, bench.timeline, Ahead(timedelta(seconds=patience - 5)), no_policy)()
    assert waiting.state().type is state.type
    Sweeper(api, bench.timeline, Ahead(timedelta(seconds=patience + 10)), no_policy)()
    assert waiting.state().type is StateType.SCHEDULED
    assert texts(waiting.work, "run.taken_over") == [f"{waiting.work.id} goes on: nobody carried it out"]


def test_a_second_process_leaves_a_run_to_the_first_and_prefects_state_as_it_is(waiting: Waiting, bench: Bench) -> None:
    waiting.answer()
    leases, done = bench.timeline.leases, threading.Event()
    leases.take(waiting.work.id, "another", place="elsewhere, process 7", terms=TERMS)

    def renew() -> None:
        while not done.wait(0.2):
            assert leases.renew(waiting.work.id, "another", terms=TERMS)

    before = waiting.work.entries()
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(renew)
        try:
            with pytest.raises(Abort, match=rf"^Another process \(elsewhere, process 7\) carries {waiting.work.id} out; this one stops\.$"):
                waiting.execute()
        finally:
            done.set()
        renewing.result()
    assert waiting.work.entries() == before
    assert waiting.state().type is StateType.RUNNING
    assert bench.replicas() == 3
