"""One-time codes in the form of a real Prefect server."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyotp
import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Scheduled

from fixtures_engine import texts
from stopgap.approvals import codes, decide, responders
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Attempt
from stopgap.policy import load as policies
from stopgap.policy.model import PersonId

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from fixtures_waiting import Waiting

# Prefect leaves the socket of its event feed to the collector when a flow run ends in this process.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
WRONG = "The one-time code is not the one of ada at that moment. Is the telephone's clock right?"
USED = "This one-time code of ada was used before, and each counts once. Wait for the next one."


@pytest.fixture
def bench(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The sandbox's policy, with codes required."""
    monkeypatch.setenv("STOPGAP_SECRET_KEY", "the key of the secrets in these tests")
    path = bench.folder / "policy.yaml"
    path.write_text(path.read_text().replace("require_code: false", "require_code: true"))
    bench.policy = policies.load(path)
    return bench


@pytest.fixture
def app(bench: Bench) -> pyotp.TOTP:
    """Ada's."""
    secret = pyotp.random_base32()
    timeline = bench.timeline
    responders.enrol(timeline, responders.roll(timeline), person=PersonId("ada"), by="installer", secret=secret)
    return pyotp.TOTP(secret)


def code(app: pyotp.TOTP, *, later: int = 0) -> str:
    return app.at(datetime.now(UTC) + timedelta(seconds=later * codes.STEP))


def responses(waiting: Waiting) -> list[dict[str, Any]]:
    body = {"prefix": "suspended", "limit": 200}
    found = waiting.client.request("POST", "/flow_runs/{id}/input/filter", path_params={"id": waiting.flow_run}, json=body).json()
    return [each for each in found if each["key"].endswith("-response")]


def test_the_right_code_lets_the_step_happen_and_is_left_nowhere(waiting: Waiting, bench: Bench, app: pyotp.TOTP) -> None:
    given = code(app)
    assert waiting.answer(code=given)["status"] == "ACCEPT"
    assert len(responses(waiting)) == 1
    state = waiting.execute()
    assert state
    assert state.type is StateType.COMPLETED
    assert bench.replicas() == 4
    assert texts(waiting.work, "gate.decided") == ["ada (incident-commander) approved scale"]
    assert responses(waiting) == []
    assert not any(given in entry.text or given in json.dumps(entry.data) for entry in waiting.work.entries())


def test_a_form_without_a_code_does_not_go_through(waiting: Waiting) -> None:
    assert waiting.answer()["status"] == "REJECT"
    assert waiting.answer(code="12345")["status"] == "REJECT"
    assert waiting.state().type is StateType.PAUSED


def test_a_wrong_code_is_refused_and_asked_again_and_a_used_one_too(waiting: Waiting, bench: Bench, app: pyotp.TOTP) -> None:
    near = {code(app, later=number) for number in range(-3, 4)}
    wrong = next(each for each in map("{:06}".format, range(10)) if each not in near)
    assert waiting.answer(code=wrong)["status"] == "ACCEPT"
    assert waiting.execute() is None
    assert waiting.state().type is StateType.PAUSED
    assert responses(waiting) == []
    used = code(app)
    proof = codes.Proof(attempt="terminal/before", person=PersonId("ada"), code=used, channel=codes.TERMINAL)
    assert codes.check(bench.timeline, proof, now=datetime.now(UTC)) == ""
    assert waiting.answer(code=used)["status"] == "ACCEPT"
    assert waiting.execute() is None
    assert texts(waiting.work, "gate.refused") == [
        f"Refused an answer of ada by Prefect form: {WRONG}",
        f"Refused an answer of ada by Prefect form: {USED}",
    ]
    assert bench.replicas() == 3
    assert waiting.answer(code=code(app, later=1))["status"] == "ACCEPT"
    state = waiting.execute()
    assert state
    assert state.type is StateType.COMPLETED
    assert bench.replicas() == 4


def test_a_forged_answer_in_her_name_is_refused(waiting: Waiting, bench: Bench, app: pyotp.TOTP) -> None:
    gate = gates.waiting(waiting.work.entries())
    assert gate
    codeless: tuple[dict[str, Any], ...] = ({}, {"code": ""}, {"code": app.at(0)}, {"code": {"__prefect_kind": "json", "value": "1"}})
    for number, fields in enumerate(codeless):
        forged = {"decision": "approve", "change": gate.digest, "name": "ada", "reason": "", **fields}
        waiting.client.create_flow_run_input(waiting.flow_run, f"suspended-scale-1-forged{number}-response", json.dumps(forged))
    waiting.client.set_flow_run_state(waiting.flow_run, Scheduled(), force=True)
    assert waiting.execute() is None
    without = "Refused an answer of ada by Prefect form: The answer of ada came without a one-time code of six digits."
    assert texts(waiting.work, "gate.refused") == [without, without, f"Refused an answer of ada by Prefect form: {WRONG}", without]
    assert bench.replicas() == 3


def test_an_answer_is_read_once_though_the_worker_died_before_it_was_deleted(waiting: Waiting, bench: Bench, app: pyotp.TOTP) -> None:
    assert waiting.answer(code=code(app), reason="now")["status"] == "ACCEPT"
    (found,) = responses(waiting)
    received = datetime.fromisoformat(found["created"])
    answer = Attempt.of_form(id=f"form/{waiting.flow_run}/{found['key']}", fields=json.loads(found["value"]), received=received)
    work = waiting.work
    assert decide.decide(work.timeline, bench.policy, work.clock, run=work.run(), attempt=answer).accepted
    state = waiting.execute()  # as another worker would
    assert state
    assert state.type is StateType.COMPLETED
    assert texts(work, "gate.answered") == ["ada answered the question about scale by Prefect form: approve: now"]
    assert texts(work, "gate.refused") == []


def test_the_terminal_asks_for_a_code_as_well(waiting: Waiting, bench: Bench, app: pyotp.TOTP) -> None:
    def approve(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stopgap", "approve", waiting.work.id, "--as", "ada", "--yes", *words]
        return subprocess.run(command, input=typed, capture_output=True, text=True, check=False)

    done = approve()
    assert (done.returncode, done.stderr) == (
        2,
        "There is no terminal on which to ask for the one-time code of ada. Give it as a line with  --code-stdin\n",
    )
    done = approve("--code-stdin", typed="000\n")
    assert (done.returncode, done.stderr) == (1, "The answer of ada came without a one-time code of six digits.\n")
    given = code(app)
    done = approve("--code-stdin", typed=f"{given[:3]} {given[3:]}\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("ada (incident-commander) approved scale\n")
    waiting.client.set_flow_run_state(waiting.flow_run, Scheduled(), force=True)  # that process could not reach Prefect to wake the run
    state = waiting.execute()
    assert state
    assert bench.replicas() == 4
