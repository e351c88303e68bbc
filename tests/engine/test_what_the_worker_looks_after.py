"""Nothing that was asked for is forgotten, nothing sleeps past its answer, and the timeline is sealed now and then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Cancelling, Crashed, Failed, Running, Scheduled

from fixtures_engine import Ahead, no_policy, texts
from fixtures_waiting import STEPS, Waiting
from stopgap.approvals import decide
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Attempt
from stopgap.clock import SystemClock
from stopgap.engine import deploy, journal, lease
from stopgap.engine.api import Api
from stopgap.engine.sweep import Sweeper
from stopgap.incidents import fold
from stopgap.incidents.model import RunEnd
from stopgap.timeline.store import TimelineUnreachableError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from fixtures_engine import Bench
    from stopgap.engine.server import PrefectServer
    from stopgap.timeline.store import PostgresTimeline

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture
def api(prefect_server: PrefectServer) -> Api:
    return Api(url=prefect_server.api_url, auth=prefect_server.auth)


@pytest.fixture
def log(bench: Bench) -> PostgresTimeline:
    return bench.timeline


def test_a_question_that_nobody_answers_expires_and_ends_the_run(waiting: Waiting, api: Api, log: PostgresTimeline, bench: Bench) -> None:
    Sweeper(api, log, Ahead(14 * MINUTE), no_policy)()
    assert waiting.state().type is StateType.PAUSED
    Sweeper(api, log, Ahead(16 * MINUTE), no_policy)()
    assert texts(waiting.work, "gate.expired") == ["Nobody decided about scale within 15m: expired"]
    state = waiting.execute()
    assert state
    assert (state.type, state.name) == (StateType.FAILED, "Expired")
    assert waiting.work.run().end is RunEnd.EXPIRED
    assert bench.replicas() == 3


@pytest.mark.parametrize("waiting", [STEPS.replace("commander]", "commander], escalate: {after: 5m, to: technical-lead}")], indirect=True)
def test_after_a_while_the_next_role_is_asked_as_well(waiting: Waiting, api: Api, log: PostgresTimeline) -> None:
    work = waiting.work
    gate = gates.waiting(work.entries())
    assert gate
    assert f"(`ben`); from {gate.asked_at + 5 * MINUTE:%H:%M:%S} UTC on also Chen Li (`chen`)" in waiting.description()
    attempt = Attempt(id="early", person="chen", answer="approve", digest=gate.digest, reason="", channel="test")
    early = decide.decide(log, work.policy, SystemClock(), run=work.run(), attempt=attempt)
    assert early.text == "chen does not hold incident-commander. ada, ben may decide."
    sweeper = Sweeper(api, log, Ahead(6 * MINUTE), no_policy)
    sweeper()
    sweeper()
    assert texts(work, "gate.escalated") == ["Nobody decided about scale within 5m: technical-lead may decide as well"]
    attempt = Attempt(id="later", person="chen", answer="approve", digest=gate.digest, reason="", channel="test")
    assert decide.decide(log, work.policy, Ahead(6 * MINUTE), run=work.run(), attempt=attempt).accepted


def test_a_run_that_a_stranger_woke_asks_again(waiting: Waiting, api: Api, log: PostgresTimeline) -> None:
    waiting.client.set_flow_run_state(waiting.flow_run, Running(), force=True)
    Sweeper(api, log, Ahead(20 * SECOND), no_policy)()
    assert waiting.state().type is StateType.SCHEDULED
    assert waiting.execute() is None
    assert waiting.state().type is StateType.PAUSED


def test_a_run_that_is_cancelled_in_prefect_is_aborted(waiting: Waiting, api: Api, log: PostgresTimeline) -> None:
    waiting.client.set_flow_run_state(waiting.flow_run, Cancelled(), force=True)
    sweeper = Sweeper(api, log, SystemClock(), no_policy)
    sweeper()
    assert waiting.work.run().end is RunEnd.ABORTED
    assert texts(waiting.work, "run.finished") == [f"{waiting.work.id} was cancelled in Prefect."]
    sweeper()
    assert len(texts(waiting.work, "run.finished")) == 1


def test_a_run_that_is_being_cancelled_in_prefect_ends_before_its_next_step(waiting: Waiting, api: Api, log: PostgresTimeline) -> None:
    waiting.client.set_flow_run_state(waiting.flow_run, Running(), force=True)
    waiting.client.set_flow_run_state(waiting.flow_run, Cancelling(), force=True)
    sweeper = Sweeper(api, log, SystemClock(), no_policy)
    sweeper(active={waiting.flow_run})
    sweeper(active={waiting.flow_run})
    assert texts(waiting.work, "run.abort_asked") == [f"Somebody ends {waiting.work.id}: cancelled in Prefect"]


def test_a_run_that_prefect_lost_is_taken_up_again(waiting: Waiting, api: Api, log: PostgresTimeline) -> None:
    waiting.client.set_flow_run_state(waiting.flow_run, Crashed(), force=True)
    Sweeper(api, log, SystemClock(), no_policy)(active={waiting.flow_run})
    assert waiting.state().type is StateType.CRASHED
    Sweeper(api, log, SystemClock(), no_policy)()
    assert waiting.state().type is StateType.SCHEDULED
    assert waiting.execute() is None


def test_a_run_that_ends_in_prefect_again_and_again_is_given_up_and_how_often_it_waited_does_not_count(
    waiting: Waiting, api: Api, log: PostgresTimeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stopgap.engine.sweep.MOST_ENDS", 2)
    for _ in range(3):
        waiting.client.set_flow_run_state(waiting.flow_run, Scheduled(), force=True)
        assert waiting.execute() is None
    ends: list[State[Any]] = [Crashed(), Failed(message="no database")]
    for state in ends:
        assert waiting.work.run().end is None
        waiting.client.set_flow_run_state(waiting.flow_run, Running(), force=True)
        waiting.client.set_flow_run_state(waiting.flow_run, state, force=True)
        Sweeper(api, log, SystemClock(), no_policy)()
    name = waiting.work.id
    assert texts(waiting.work, "run.finished") == [
        f"{name} ended 2 times in Prefect without coming to its end; it is given up: no database."
    ]


@pytest.mark.parametrize("waiting", [STEPS.replace("commander]", "commander], approvers: 2")], indirect=True)
def test_a_reminder_counts_as_the_policy_of_its_runbook_says(waiting: Waiting, api: Api, log: PostgresTimeline) -> None:
    work = waiting.work
    gate = gates.waiting(work.entries())
    assert gate
    attempt = Attempt(id="ada's", person="ada", answer="approve", digest=gate.digest, reason="", channel="test")
    assert decide.decide(log, work.policy, SystemClock(), run=work.run(), attempt=attempt).accepted
    without = replace(work.policy, people={name: each for name, each in work.policy.people.items() if name != "ada"})
    Sweeper(api, log, Ahead(8 * MINUTE), {work.runbook.name: without}.get)()
    (text,) = texts(work, "gate.reminded")
    assert text.endswith(" 2 more must approve.")


def test_a_run_whose_flow_run_was_deleted_goes_on_in_another_one_and_opens_nothing(
    waiting: Waiting, api: Api, log: PostgresTimeline, bench: Bench
) -> None:
    work, first = waiting.work, waiting.flow_run
    waiting.client.delete_flow_run(first)
    for _ in range(2):
        Sweeper(api, log, SystemClock(), no_policy)()
    gone = f"Prefect no longer has the flow run of {work.id}: it goes on in another one, and asks again what was open"
    assert texts(work, "run.scheduled") == [f"{work.id} handed to Prefect", gone]
    waiting.flow_run = UUID(work.run().flow_run)
    assert waiting.flow_run != first
    assert waiting.execute() is None
    assert bench.replicas() == 3
    assert waiting.answer()["status"] == "ACCEPT"
    state = waiting.execute()
    assert state
    assert state.type is StateType.COMPLETED
    assert texts(work, "gate.decided") == ["ada (incident-commander) approved scale"]
    assert bench.replicas() == 4


def test_a_run_whose_flow_run_was_deleted_is_left_to_the_process_that_carries_it_out(
    waiting: Waiting, api: Api, log: PostgresTimeline
) -> None:
    waiting.client.delete_flow_run(waiting.flow_run)
    Sweeper(api, log, SystemClock(), no_policy)(active={waiting.flow_run})
    with lease.held(log, waiting.work.id, clock=SystemClock()):
        Sweeper(api, log, SystemClock(), no_policy)()
    assert waiting.work.run().flow_run == str(waiting.flow_run)


def test_a_run_whose_flow_runs_vanish_again_and_again_is_given_up(
    waiting: Waiting, api: Api, log: PostgresTimeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stopgap.engine.sweep.MOST_ENDS", 2)
    work = waiting.work
    for _ in range(2):
        waiting.client.delete_flow_run(UUID(work.run().flow_run))
        Sweeper(api, log, SystemClock(), no_policy)()
    assert texts(work, "run.finished") == [f"{work.id} lost its flow run in Prefect 2 times, and is given up."]
    assert work.run().end is RunEnd.FAILED


def test_prefect_learns_of_an_end_that_its_process_could_not_tell(waiting: Waiting, api: Api, log: PostgresTimeline) -> None:
    sweeper = Sweeper(api, log, Ahead(20 * SECOND), no_policy)
    sweeper()
    journal.finished(log, waiting.work.run(), RunEnd.ABORTED, "It ended here.")
    waiting.client.set_flow_run_state(waiting.flow_run, Running(), force=True)
    sweeper(active={waiting.flow_run})
    assert waiting.state().type is StateType.RUNNING  # somebody has it, and may be about to tell
    sweeper()
    assert waiting.state().type is StateType.SCHEDULED
    state = waiting.execute()
    assert state
    assert (state.type, state.name) == (StateType.FAILED, "Aborted")
    Sweeper(api, log, Ahead(20 * SECOND), no_policy)()
    assert waiting.state().type is StateType.FAILED
    assert len(texts(waiting.work, "run.finished")) == 1


def test_prefect_learns_of_a_good_end_that_it_took_for_a_failure(
    waiting: Waiting, api: Api, log: PostgresTimeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper = Sweeper(api, log, SystemClock(), no_policy)
    sweeper()
    assert waiting.answer()["status"] == "ACCEPT"
    with monkeypatch.context() as patched:
        patched.setattr("stopgap.engine.flows._last_words", _away)
        patched.setattr("stopgap.engine.lease._Process.holder", "its process")
        assert waiting.execute()
    log.leases.give_back("its process")  # as the worker does, when it is dead
    assert (waiting.work.run().end, waiting.state().type) == (RunEnd.DONE, StateType.FAILED)
    sweeper()
    assert waiting.state().type is StateType.SCHEDULED
    assert waiting.execute()
    assert waiting.state().type is StateType.COMPLETED
    sweeper()
    assert waiting.state().type is StateType.COMPLETED
    assert len(texts(waiting.work, "run.finished")) == 1


def test_a_run_that_ended_while_it_slept_in_prefect_ends_there_too(waiting: Waiting, api: Api, log: PostgresTimeline) -> None:
    journal.finished(log, waiting.work.run(), RunEnd.ABORTED, "It ended here.")
    Sweeper(api, log, SystemClock(), no_policy)()
    assert waiting.state().type is StateType.SCHEDULED
    assert waiting.execute()
    assert waiting.state().type is StateType.FAILED


@pytest.mark.usefixtures("prefect_settings")
def test_a_run_that_was_asked_for_and_not_handed_over_is_handed_over(bench: Bench, api: Api, log: PostgresTimeline) -> None:
    work = bench.work(STEPS)
    deploy.deploy({work.runbook.name: work.runbook})
    Sweeper(api, log, SystemClock(), no_policy)()
    assert work.run().flow_run == ""
    Sweeper(api, log, Ahead(6 * SECOND), no_policy)()
    assert api.flow_run(work.run().flow_run).state == "SCHEDULED"


def test_a_run_that_was_started_in_prefect_and_lost_its_database_at_once_goes_on_in_its_own_flow_run(
    waiting: Waiting, api: Api, log: PostgresTimeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.finished(log, waiting.work.run(), RunEnd.ABORTED, "It has what the other needs.")
    deployment = api.deployment(waiting.work.runbook.name, deploy.NAME)
    waiting.flow_run = UUID(api.create_flow_run(deployment, {"state": {"type": "SCHEDULED"}}))
    with monkeypatch.context() as patched:
        patched.setattr("stopgap.engine.journal.scheduled", _away)
        assert waiting.execute()
    assert waiting.state().type is StateType.FAILED
    newest = log.of_kind("run.requested")[-1].run
    assert fold.find_run(log, newest).flow_run == ""
    sweeper = Sweeper(api, log, Ahead(6 * SECOND), no_policy)
    sweeper()
    assert fold.find_run(log, newest).flow_run == str(waiting.flow_run)
    sweeper()
    assert waiting.state().type is StateType.SCHEDULED
    assert waiting.execute() is None
    assert [entry.run for entry in log.of_kind("run.requested")] == [waiting.work.id, newest]
    assert waiting.state().type is StateType.PAUSED


def _away(*_: object) -> str:
    raise TimelineUnreachableError


def test_the_timeline_is_sealed_every_hour_and_not_more_often(bench: Bench, api: Api, log: PostgresTimeline) -> None:
    bench.work("steps: [{id: say, uses: note, with: {text: hello}}]\n", starter="")
    clock = Ahead(timedelta(0))
    sweeper = Sweeper(api, log, clock, no_policy)
    sweeper()
    sealed = len(log.of_chain("SEALS"))
    bench.work("steps: [{id: say, uses: note, with: {text: hello}}]\n", starter="")
    begun = len(log.of_chain("SEALS"))  # a chain is sealed by itself when it begins
    assert begun == sealed + 1
    sweeper()
    assert len(log.of_chain("SEALS")) == begun
    sweeper.clock = Ahead(61 * MINUTE)
    sweeper()
    assert len(log.of_chain("SEALS")) == begun + 1
    assert not log.verify().damages
