"""What the worker's sweep finds and mends, on a real Prefect server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Cancelling, Failed, Running
from test_gates_on_prefect import STEPS, Waiting
from test_gates_on_prefect import waiting as waiting  # noqa: PLC0414  the fixture

from fixtures_engine import texts
from stopgap.engine import start, sweep
from stopgap.engine.api import Api
from stopgap.incidents.model import RunEnd

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from stopgap.engine.server import PrefectServer

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Later:
    """A clock that runs so far ahead of the timeline's."""

    def __init__(self, by: timedelta) -> None:
        self.by = by

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by

    def monotonic(self) -> float:
        return self.by.total_seconds()

    def sleep(self, seconds: float) -> None:
        self.by += timedelta(seconds=seconds)


@pytest.fixture
def api(prefect_server: PrefectServer) -> Api:
    return Api(url=prefect_server.api_url, auth=prefect_server.auth)


def swept(waiting: Waiting, api: Api, *, later: timedelta = timedelta(0)) -> Waiting:
    sweep.sweep(api, waiting.work.timeline, Later(later))
    return waiting


def test_a_run_that_waits_is_left_alone(waiting: Waiting, api: Api) -> None:
    assert swept(waiting, api, later=timedelta(minutes=14)).state().type is StateType.PAUSED


def test_an_expired_gate_wakes_its_run_which_ends_expired(waiting: Waiting, api: Api, bench: Bench) -> None:
    assert swept(waiting, api, later=timedelta(minutes=16)).state().type is StateType.SCHEDULED
    state = waiting.execute()
    assert state
    assert (state.type, state.name) == (StateType.FAILED, "Expired")
    assert texts(waiting.work, "gate.expired") == ["Nobody decided about scale within 15m: expired"]
    assert bench.replicas() == 3


def test_a_run_set_running_by_hand_is_found_and_asks_again(waiting: Waiting, api: Api, bench: Bench) -> None:
    waiting.client.set_flow_run_state(waiting.flow_run, Running(), force=True)
    assert swept(waiting, api).state().type is StateType.RUNNING, "it may just be on its way to its gate"
    assert swept(waiting, api, later=timedelta(seconds=11)).state().type is StateType.SCHEDULED
    assert waiting.execute() is None
    assert bench.replicas() == 3


def test_a_run_cancelled_in_prefect_ends_aborted(waiting: Waiting, api: Api) -> None:
    waiting.client.set_flow_run_state(waiting.flow_run, Cancelled(), force=True)
    swept(waiting, api)
    assert waiting.work.run().end is RunEnd.ABORTED
    assert texts(waiting.work, "run.finished") == [f"{waiting.work.id} was cancelled in Prefect"]


def test_a_run_being_cancelled_in_prefect_ends_before_its_next_step(waiting: Waiting, api: Api) -> None:
    waiting.client.set_flow_run_state(waiting.flow_run, Running(), force=True)
    waiting.client.set_flow_run_state(waiting.flow_run, Cancelling(), force=True)
    swept(waiting, api)
    swept(waiting, api)
    assert texts(waiting.work, "run.abort_asked") == [f"Somebody ends {waiting.work.id}: cancelled in Prefect"]


def test_a_run_that_prefect_lost_is_taken_up_again(waiting: Waiting, api: Api) -> None:
    waiting.client.set_flow_run_state(waiting.flow_run, Failed(message="the database was away"), force=True)
    assert swept(waiting, api).state().name == "AwaitingRetry"
    assert waiting.execute() is None
    assert waiting.state().type is StateType.PAUSED


def test_a_run_that_never_reached_prefect_is_handed_over_once(
    bench: Bench, api: Api, prefect_settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stopgap.engine import deploy

    assert prefect_settings is None
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(bench.folder))
    work = bench.work(STEPS)
    deploy.deploy({work.runbook.name: work.runbook})
    sweep.sweep(api, bench.timeline, Later(timedelta(0)))
    assert work.run().flow_run == "", "whoever asked for it may still be handing it over"
    sweep.sweep(api, bench.timeline, Later(timedelta(seconds=6)))
    first = work.run().flow_run
    assert first
    assert start.schedule(bench.timeline, api, work.run()) == first
