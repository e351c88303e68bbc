"""A run that nothing could begin in time ends without having done anything, and says so."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client

from fixtures_waiting import STEPS, Waiting
from stopgap.clock import format_time
from stopgap.engine import deploy, start
from stopgap.engine.api import Api
from stopgap.incidents.model import RunEnd
from stopgap.incidents.open import request_run

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from fixtures_engine import Bench
    from stopgap.engine.server import PrefectServer

pytestmark = [pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"), pytest.mark.usefixtures("prefect_settings")]


def begin(
    bench: Bench, prefect_server: PrefectServer, *, expires: timedelta, starter: str = "dana", waits: float = 0
) -> tuple[Waiting, State[Any] | None]:
    work = bench.work(STEPS)
    deploy.deploy({work.runbook.name: work.runbook})
    first = work.run()
    asked = request_run(
        bench.timeline,
        incident=first.incident,
        runbook=work.runbook,
        parameters={},
        mode=first.mode,
        starter=starter,
        key=uuid4().hex,
        expires=expires,
    )
    time.sleep(waits)
    flow_run = start.schedule(bench.timeline, Api(url=prefect_server.api_url, auth=prefect_server.auth), asked)
    with get_client(sync_client=True) as client:
        waiting = Waiting(replace(work, id=asked.id), client, UUID(flow_run), bench.folder)
        return waiting, waiting.execute()


def test_a_run_that_could_not_begin_in_time_does_nothing_and_says_so(bench: Bench, prefect_server: PrefectServer) -> None:
    waiting, state = begin(bench, prefect_server, expires=timedelta(0))
    assert state
    run = waiting.work.run()
    assert state.name == "Expired"
    assert re.fullmatch(
        rf"{run.id} could not begin for \d+s, and was to begin within 0s\. Nothing was done; look at the incident, and start it anew\.",
        str(state.message),
    )
    assert run.end is RunEnd.EXPIRED
    assert run.steps == {}
    assert bench.replicas() == 3


def test_one_that_was_started_in_prefect_is_no_younger_than_its_first_word_here(bench: Bench, prefect_server: PrefectServer) -> None:
    waiting, state = begin(bench, prefect_server, expires=timedelta(seconds=5), starter="", waits=6)
    assert state
    assert waiting.work.run().end is RunEnd.EXPIRED


def test_one_that_prefect_was_to_begin_an_hour_ago_does_nothing(bench: Bench, prefect_server: PrefectServer) -> None:
    work = bench.work(STEPS)
    deploy.deploy({work.runbook.name: work.runbook})
    api = Api(url=prefect_server.api_url, auth=prefect_server.auth)
    an_hour_ago = format_time(work.clock.now() - timedelta(hours=1))
    body = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": an_hour_ago}}}
    with get_client(sync_client=True) as client:
        state = Waiting(
            work, client, UUID(api.create_flow_run(api.deployment(work.runbook.name, deploy.NAME), body)), bench.folder
        ).execute()
    assert state
    assert state.name == "Expired"
    assert re.match(r"INC-2\.1 could not begin for 1h(0m\d+s)?, and was to begin within 30m\. ", str(state.message))


def test_a_run_that_begins_in_time_is_begun(bench: Bench, prefect_server: PrefectServer) -> None:
    waiting, state = begin(bench, prefect_server, expires=timedelta(minutes=5))
    assert state is None
    assert waiting.work.run().end is None
    assert waiting.work.run().expires == timedelta(minutes=5)
