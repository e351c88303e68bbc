"""A real Prefect server, the real form, and every way around it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Running, Scheduled

from fixtures_engine import HEAD, no_policy, texts
from fixtures_waiting import STEPS, Waiting
from stopgap.approvals import gate as gates
from stopgap.engine import deploy, start
from stopgap.engine.api import Api
from stopgap.engine.sweep import Sweeper
from stopgap.engine.work import Work
from stopgap.incidents.model import RunEnd
from stopgap.incidents.open import request_undo

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from stopgap.engine.server import PrefectServer

# Prefect leaves the socket of its event feed to the collector when a flow run ends in this process.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_the_form_shows_exactly_what_will_change(waiting: Waiting) -> None:
    description = waiting.description()
    assert "| `replicas` | `3` | `4` |" in description
    assert "-replicas: 3\n+replicas: 4" in description
    assert "Ada Amari (`ada`), Ben Brandt (`ben`)" in description


def test_an_approval_in_the_form_lets_the_step_happen(waiting: Waiting, bench: Bench) -> None:
    assert waiting.answer()["status"] == "ACCEPT"
    state = waiting.execute()
    assert state
    assert (state.type, state.message) == (StateType.COMPLETED, "A test: done. Done: scale. Not done: nothing.")
    assert bench.replicas() == 4
    assert texts(waiting.work, "gate.answered") == ["ada answered the question about scale by Prefect form: approve"]


def test_a_rejection_in_the_form_ends_the_run_rejected(waiting: Waiting, bench: Bench) -> None:
    assert waiting.answer(decision="stop the run", reason="wrong cluster")["status"] == "ACCEPT"
    state = waiting.execute()
    assert state
    assert (state.type, state.name) == (StateType.FAILED, "Rejected")
    assert bench.replicas() == 3
    assert waiting.work.run().end is RunEnd.REJECTED
    assert texts(waiting.work, "gate.decided") == ["ada (incident-commander) decided about scale: stop the run: wrong cluster"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        {"run_input": {}},
        {"run_input": {"decision": "approve", "name": "ada"}},
        {"run_input": {"decision": "approve", "change": "0000000000000000", "name": "ada"}},
        {"run_input": {"decision": "yes", "change": "DIGEST", "name": "ada"}},
    ],
)
def test_the_server_refuses_what_does_not_fit_the_question(waiting: Waiting, body: dict[str, Any] | None) -> None:
    gate = gates.waiting(waiting.work.entries())
    assert gate
    if body and body["run_input"].get("change") == "DIGEST":
        body["run_input"]["change"] = gate.digest
    assert waiting.resume(body)["status"] == "REJECT"
    assert waiting.state().type is StateType.PAUSED


def test_a_run_set_running_by_hand_asks_again(waiting: Waiting, bench: Bench) -> None:
    waiting.client.set_flow_run_state(waiting.flow_run, Running(), force=True)
    waiting.client.set_flow_run_state(waiting.flow_run, Scheduled(), force=True)
    assert waiting.execute() is None
    assert waiting.state().type is StateType.PAUSED
    assert bench.replicas() == 3
    woken = "Add capacity: the run was woken without an answer, and asks again; a restart does that, or somebody in Prefect"
    assert texts(waiting.work, "step.note") == [woken]


def test_a_copy_of_a_flow_run_does_nothing(waiting: Waiting, bench: Bench) -> None:
    assert waiting.answer()["status"] == "ACCEPT"
    copied = waiting.client.read_flow_run(waiting.flow_run)
    assert copied.deployment_id
    copy = waiting.client.create_flow_run_from_deployment(copied.deployment_id, parameters=copied.parameters)
    before = waiting.work.entries()
    state = Waiting(waiting.work, waiting.client, copy.id, bench.folder).execute()
    assert state
    assert (state.type, state.name) == (StateType.FAILED, "NotItsRun")
    assert state.message == f"{waiting.work.id} is carried out by another flow run, {waiting.flow_run}; nothing was done here."
    assert waiting.work.entries() == before
    assert bench.replicas() == 3


def test_a_forged_answer_of_a_stranger_is_refused_and_on_the_timeline(waiting: Waiting, bench: Bench) -> None:
    gate = gates.waiting(waiting.work.entries())
    assert gate
    forged = {"decision": "approve", "change": gate.digest, "name": "mallory", "reason": ""}
    waiting.client.create_flow_run_input(waiting.flow_run, "suspended-scale-1-forged-response", json.dumps(forged))
    waiting.client.set_flow_run_state(waiting.flow_run, Scheduled(), force=True)
    assert waiting.execute() is None
    assert texts(waiting.work, "gate.refused") == ['Refused an answer of mallory by Prefect form: Policy knows nobody called "mallory".']
    assert bench.replicas() == 3


def test_a_form_opened_for_an_earlier_round_is_refused(waiting: Waiting, bench: Bench) -> None:
    first = gates.waiting(waiting.work.entries())
    assert first
    assert waiting.answer(name="chen")["status"] == "ACCEPT"  # not entitled: asked again, in the same round
    bench.meddle(replicas=2)
    assert waiting.execute() is None
    assert waiting.answer()["status"] == "ACCEPT"  # approves 3 -> 4, but it is 2 -> 4 now
    assert waiting.execute() is None
    assert bench.replicas() == 2
    assert waiting.resume({"run_input": {"decision": "approve", "change": first.digest, "name": "ada"}})["status"] == "REJECT"
    assert waiting.answer()["status"] == "ACCEPT"
    state = waiting.execute()
    assert state
    assert state.type is StateType.COMPLETED
    assert bench.replicas() == 4


def test_a_run_that_waits_for_a_lock_leaves_its_process_and_is_woken_when_the_lock_is_free(
    waiting: Waiting, bench: Bench, prefect_server: PrefectServer
) -> None:
    prefect_api = Api(url=prefect_server.api_url, auth=prefect_server.auth)
    work = bench.work(STEPS)
    second = Waiting(work, waiting.client, UUID(start.schedule(bench.timeline, prefect_api, work.run())), bench.folder)
    assert second.execute() is None
    state = second.state()
    assert (state.type, state.name) == (StateType.SCHEDULED, "Locked")
    assert str(state.message).startswith(
        f"Waits at most 10m: {waiting.work.id} (test-runbook) holds kubernetes/sandbox/shop/deployment/checkout"
    )
    Sweeper(prefect_api, bench.timeline, work.clock, no_policy)(active={waiting.flow_run})
    assert second.state().name == "Locked"
    assert waiting.answer(decision="stop the run")["status"] == "ACCEPT"
    assert waiting.execute()
    Sweeper(prefect_api, bench.timeline, work.clock, no_policy)()
    assert second.state().name == "Resuming"
    assert second.execute() is None
    assert second.state().type is StateType.PAUSED
    assert gates.waiting(work.entries())


def test_an_ended_run_is_taken_back_by_a_flow_run_of_its_own(waiting: Waiting, bench: Bench, prefect_server: PrefectServer) -> None:
    assert waiting.answer()["status"] == "ACCEPT"
    assert waiting.execute()
    run = request_undo(bench.timeline, of=waiting.work.run(), step="", starter="dana", key="undo")
    prefect_api = Api(url=prefect_server.api_url, auth=prefect_server.auth)
    flow_run = UUID(start.schedule(bench.timeline, prefect_api, run))
    back = Waiting(replace(waiting.work, id=run.id), waiting.client, flow_run, bench.folder)
    assert back.execute() is None
    assert waiting.client.read_flow_run(flow_run).name == f"{run.incident} undo of {waiting.work.id}"
    assert back.answer()["status"] == "ACCEPT"
    state = back.execute()
    assert state
    assert (state.type, state.message) == (StateType.COMPLETED, f"Taking back {waiting.work.id}: done. Taken back: scale.")
    assert bench.replicas() == 3


def test_a_run_of_a_runbook_that_has_changed_does_not_go_on(waiting: Waiting, bench: Bench) -> None:
    assert waiting.answer()["status"] == "ACCEPT"
    (bench.folder / "test-runbook.yaml").write_text(HEAD + STEPS + "# edited\n")
    from stopgap.runbook import load

    edited = Work(
        timeline=waiting.work.timeline,
        clock=waiting.work.clock,
        policy=waiting.work.policy,
        runbook=load.load(bench.folder / "test-runbook.yaml"),
        id=waiting.work.id,
        mode=waiting.work.mode,
        parameters={},
    )
    state = Waiting(edited, waiting.client, waiting.flow_run, bench.folder).execute()
    assert state
    assert state.type is StateType.FAILED
    assert bench.replicas() == 3


@pytest.mark.usefixtures("prefect_settings")
def test_a_run_started_in_the_ui_asks_before_its_first_change(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(bench.folder))
    work = bench.work(STEPS.replace("    approval: {by: [incident-commander]}\n", ""))
    (deployed,) = deploy.deploy({work.runbook.name: work.runbook})
    with get_client(sync_client=True) as client:
        started = client.create_flow_run_from_deployment(deployed.id)
        assert Waiting(work, client, started.id, bench.folder).execute() is None
    requested = bench.timeline.find(f"run.requested/prefect/{started.id}")
    assert requested
    assert requested.text == "Run of test-runbook asked for by somebody in the Prefect UI"
    gate = gates.waiting(bench.timeline.of_run(requested.run))
    assert gate
    assert gate.asks["why"] == "nobody knows who started this run"
    assert bench.replicas() == 3


@pytest.mark.usefixtures("prefect_settings")
def test_parameters_are_checked_again_in_the_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(bench.folder))
    head = HEAD + "parameters: {replicas: {type: integer, maximum: 9, default: 4}}\n"
    work = bench.work(STEPS, head=head)
    (deployed,) = deploy.deploy({work.runbook.name: work.runbook})
    with get_client(sync_client=True) as client:
        body = {"parameters": {"replicas": 99}, "enforce_parameter_schema": False}
        started = client.request("POST", "/deployments/{id}/create_flow_run", path_params={"id": deployed.id}, json=body).json()
        state = Waiting(work, client, UUID(started["id"]), bench.folder).execute()
    assert state
    assert state.type is StateType.FAILED
    assert "99 is greater than the maximum of 9" in str(state.message)
    assert bench.timeline.find(f"run.requested/prefect/{started['id']}") is None
