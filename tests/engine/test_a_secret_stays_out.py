"""The value of a secret parameter is used, and stands nowhere: no entry, no question, no form, no artifact, no log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import get_client

from fixtures_engine import HEAD, carry_out, texts
from fixtures_waiting import Waiting
from stopgap.approvals.model import Answer
from stopgap.cli.main import run
from stopgap.engine import deploy
from stopgap.incidents.model import RunEnd
from stopgap.plan import parameters
from stopgap.problems import UsageError
from stopgap.testing import ScriptedStage

if TYPE_CHECKING:
    from fixtures_engine import Bench

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SECRET = "hunter2/&é"
QUOTED = "hunter2%2F%26%C3%A9"
SECRET_HEAD = HEAD + "parameters: {token: {type: string, secret: true, minLength: 3}}\n"
STEPS = """\
steps:
  - {id: say, uses: note, with: {text: "token is ${{ params.token }}"}}
  - id: call
    name: Call the bank
    uses: manual
    with: {instructions: "Tell them ${{ params.token }}."}
  - {id: quote, uses: note, with: {text: "they heard ${{ steps.say.status }} ${{ params.token }}"}}
  - id: look
    uses: http.wait
    with: {url: "SHOP?token=${{ params.token }}", status: 418, within: 1s}
    on_failure: continue
"""


def steps(bench: Bench) -> str:
    return STEPS.replace("SHOP", bench.world.shop_url)


def is_hidden(text: str) -> bool:
    return not any(form in text for form in (SECRET, QUOTED, "hunter2"))


def test_no_entry_holds_a_secret(bench: Bench) -> None:
    work = bench.work(steps(bench), head=SECRET_HEAD, token=SECRET)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert texts(work, "gate.asked") == ["Call the bank: a human does: Tell them ***."]
    assert carry_out(work, call=("ada", Answer.DONE)) is RunEnd.FAILED
    finished = texts(work, "step.finished")
    assert finished[0] == "Say: token is ***"
    assert finished[2] == "Quote: they heard done ***"
    assert "?token=*** answers 418" in finished[3]
    for entry in bench.timeline.of_chain(work.run().incident):
        assert is_hidden(json.dumps([entry.text, entry.data], ensure_ascii=False)), entry


def test_a_secret_that_looks_like_a_word_of_ours_confuses_nothing(bench: Bench) -> None:
    ask = """\
steps:
  - id: scale
    name: Add capacity
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 5}
    approval: {by: [incident-commander]}
"""
    for word in ("done", "predicted", "change", "approve", "after"):
        bench.meddle(replicas=3)
        work = bench.work(ask, head=SECRET_HEAD, token=word)
        with pytest.raises(ScriptedStage.StillWaiting):
            carry_out(work)
        assert carry_out(work, scale=("ada", Answer.APPROVE)) is RunEnd.DONE
        assert bench.replicas() == 5


def test_a_secret_that_does_not_fit_is_not_repeated(bench: Bench) -> None:
    work = bench.work(steps(bench), head=SECRET_HEAD, token=SECRET)
    with pytest.raises(UsageError) as caught:
        parameters.check(work.runbook, {"token": "hu"})
    assert str(caught.value) == ('Runbook test-runbook cannot run with these parameters:\n  "token": it does not fit its "minLength"')


@pytest.mark.parametrize("verb", ["run", "drill"])
def test_a_secret_is_not_typed_on_a_command_line(
    bench: Bench, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.work(steps(bench), head=SECRET_HEAD, token=SECRET)
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(bench.folder))
    assert run([verb, "test-runbook", "-p", f"token={SECRET}"]) == 2
    assert capsys.readouterr().err == ("Runbook test-runbook has secret parameters (token); start it from its form in the Prefect UI.\n")


@pytest.mark.usefixtures("prefect_settings")
def test_a_run_started_in_the_ui_uses_the_secret_and_shows_it_nowhere(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(bench.folder))
    work = bench.work(steps(bench), head=SECRET_HEAD, token=SECRET)
    (deployed,) = deploy.deploy({work.runbook.name: work.runbook})
    with get_client(sync_client=True) as client:
        started = client.create_flow_run_from_deployment(deployed.id, parameters={"token": SECRET})
        waiting = Waiting(work, client, started.id, bench.folder)
        assert waiting.execute() is None
        requested = bench.timeline.find(f"run.requested/prefect/{started.id}")
        assert requested
        entries = bench.timeline.of_run(requested.run)
        assert "Say: token is ***" in [entry.text for entry in entries]
        assert is_hidden(json.dumps([[entry.text, entry.data] for entry in entries], ensure_ascii=False))
        shown = seen(client, started.id)
        assert "Tell them" in shown
        assert is_hidden(shown)


def seen(client: Any, flow_run: Any) -> str:
    """What Prefect shows of a flow run, its parameters apart: the form, artifacts, logs, states."""
    form = client.request(
        "POST", "/flow_runs/{id}/input/filter", path_params={"id": flow_run}, json={"prefix": "suspended", "limit": 20}
    ).json()
    artifacts = client.request("POST", "/artifacts/filter", json={"flow_runs": {"id": {"any_": [str(flow_run)]}}}).json()
    logs = client.request("POST", "/logs/filter", json={"logs": {"flow_run_id": {"any_": [str(flow_run)]}}}).json()
    states = [str(state) for state in client.read_flow_run_states(flow_run)]
    tasks = client.request("POST", "/task_runs/filter", json={"flow_runs": {"id": {"any_": [str(flow_run)]}}}).json()
    assert form
    assert artifacts
    return json.dumps([form, artifacts, logs, states, tasks], ensure_ascii=False)
