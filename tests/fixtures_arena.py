"""A worker on a real Prefect server, and runs that stand at their gates, each with a Deployment of its own: what attacks are tried on."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pyotp
import pytest
from kubernetes import client
from kubernetes import config as untyped_config

from fixtures_prefect import client_of
from fixtures_timeline import KEY, fresh_database
from stopgap.approvals import codes, responders
from stopgap.approvals import gate as gates
from stopgap.drills.world import World
from stopgap.engine import start
from stopgap.engine.api import Api
from stopgap.incidents import fold
from stopgap.incidents.model import Mode, Run
from stopgap.incidents.open import open_incident, request_run
from stopgap.policy.model import PersonId, Severity
from stopgap.runbook import load as runbooks
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stopgap.approvals.model import Gate
    from stopgap.engine.server import PrefectServer
    from stopgap.timeline.postgres import Server
    from stopgap.timeline.store import PostgresTimeline

config: Any = untyped_config
SECRET_KEY = "the key of the secrets in these tests"
SOON = 90.0  # seconds; the machine may be busy
PEOPLE = [f"p{number:02}" for number in range(60)]
POLICY = """\
apiVersion: stopgap/v1
kind: Policy
people: {people}
teams: {{oncall: [p00]}}
roles:
  incident-commander: {{holders: {able}}}
  technical-lead: {{holders: [p59]}}
clusters: {{sandbox: {{kubeconfig: {kubeconfig}, context: sandbox}}}}
limits: {{namespaces: [shop], max_replicas: 20}}
"""
RUNBOOK = """\
apiVersion: stopgap/v1
kind: Runbook
name: {name}
title: Grow
description: Adds capacity once somebody has approved it.
owner: oncall
severity: SEV3
defaults: {{cluster: sandbox, namespace: shop}}
parameters: {{deployment: {{type: string}}}}
steps:
  - id: scale
    name: Add capacity
    uses: kubernetes.scale
    with: {{deployment: "${{{{ params.deployment }}}}", replicas: 4}}
    approval: {{by: [incident-commander], {request}}}
"""
REQUESTS = {
    "ask-one": "expires: 30m",
    "ask-two": "approvers: 2",
    "ask-soon": "expires: 1s",
    "ask-others": "expires: 30m",  # in a folder with a policy of its own
}


def until(holds: Callable[[], Any], seconds: float = SOON) -> Any:
    """Wait for something that other processes do; there is nothing to wait on but looking."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Someone:
    """An enrolled person with a telephone."""

    id: str
    app: pyotp.TOTP

    def code(self) -> str:
        return self.app.at(datetime.now(UTC))

    def wrong(self) -> str:
        near = {self.app.at(datetime.now(UTC) + timedelta(seconds=codes.STEP * number)) for number in range(-4, 5)}
        return next(each for each in iter(lambda: f"{secrets.randbelow(900_000) + 100_000}", "") if each not in near)


@dataclass(slots=True, kw_only=True)
class Target:
    """A run that stands at its gate, and the Deployment that it would change."""

    arena: Arena
    id: str
    flow_run: str
    deployment: str

    def run(self) -> Run:
        return fold.find_run(self.arena.timeline, self.id)

    def gate(self) -> Gate:
        found = gates.waiting(self.arena.timeline.of_run(self.id))
        assert found
        return found

    def said(self, kind: str) -> list[str]:
        return [entry.text for entry in self.arena.timeline.of_run(self.id) if entry.kind == kind]

    def fields(self, person: Someone, **changed: Any) -> dict[str, Any]:
        """What somebody fills in, with their right code."""
        said = {"decision": "approve", "change": self.gate().digest, "name": person.id, "code": person.code(), "reason": ""}
        return {**said, **changed}

    def submit(self, fields: dict[str, Any] | None) -> dict[str, Any]:
        """Send the form as the UI does; the server's answer."""
        body = None if fields is None else {"run_input": fields}
        answer: dict[str, Any] = self.arena.prefect.post(f"/flow_runs/{self.flow_run}/resume", json=body).json()
        return answer

    def forge(self, fields: object, *, round: int = 1) -> None:  # noqa: A002  the gate's word
        """Write an answer past the form, and do not wake anybody."""
        body = {"key": f"suspended-scale-{round}-{uuid.uuid4().hex}-response", "value": json.dumps(fields), "sender": "stranger"}
        assert self.arena.prefect.post(f"/flow_runs/{self.flow_run}/input", json=body).status_code == httpx.codes.CREATED

    def set_state(self, kind: str) -> None:
        body = {"state": {"type": kind}, "force": True}
        self.arena.prefect.post(f"/flow_runs/{self.flow_run}/set_state", json=body).raise_for_status()

    def state(self) -> str:
        return self.arena.api.flow_run(self.flow_run).state

    def is_paused(self) -> bool:
        return self.state() == "PAUSED"

    def refused(self, count: int = 1, *, within: float = SOON) -> list[str]:
        """Wait for so many refusals; the sentences."""
        until(lambda: len(self.said("gate.refused")) >= count, within)
        return self.said("gate.refused")

    def meddle(self, replicas: int) -> None:
        with self.arena.kubernetes() as made:
            client.AppsV1Api(made).patch_namespaced_deployment(self.deployment, "shop", {"spec": {"replicas": replicas}})

    def effects(self) -> list[str]:
        """Everything that stopgap did to this run's Deployment, at the cluster."""
        found = [each for each in self.arena.world.effects() if each["name"] == self.deployment and each["verb"] != "create"]
        return [str(each["body"]) for each in found if "stopgap.dev/mark" in str(each["body"])]


@dataclass(slots=True, kw_only=True)
class Arena:
    """Everything that the attacks of a file share. `log` is the worker's."""

    folder: Path
    log: Path
    env: dict[str, str]
    world: World
    timeline: PostgresTimeline
    api: Api
    prefect: httpx.Client
    people: list[Someone] = field(default_factory=list)
    targets: dict[str, Target] = field(default_factory=dict)

    def someone(self) -> Someone:
        """Enrol the next person."""
        name, secret = PEOPLE[len(self.people)], pyotp.random_base32()
        responders.enrol(self.timeline, responders.roll(self.timeline), person=PersonId(name), by="installer", secret=secret)
        self.people.append(Someone(id=name, app=pyotp.TOTP(secret)))
        return self.people[-1]

    def start(self, runbook: str, *, name: str, starter: str = "p58") -> Target:
        """Ask for a run, and hand it to Prefect."""
        with self.kubernetes() as made:
            apps: Any = client.AppsV1Api(made)
            found = apps.read_namespaced_deployment("checkout", "shop")
            apps.create_namespaced_deployment("shop", {"metadata": {"name": name}, "spec": made.sanitize_for_serialization(found.spec)})
        book = runbooks.load(next(self.folder.rglob(f"{runbook}.yaml")))
        key = uuid.uuid4().hex
        incident = open_incident(self.timeline, title=name, severity=Severity.SEV3, actor=starter, key=key)
        given = {"deployment": name}
        run = request_run(self.timeline, incident=incident, runbook=book, parameters=given, mode=Mode.LIVE, starter=starter, key=key)
        flow_run = start.schedule(self.timeline, self.api, run)
        self.targets[name] = Target(arena=self, id=run.id, flow_run=flow_run, deployment=name)
        return self.targets[name]

    def stopgap(self, *words: str, typed: str = "") -> subprocess.Popen[str]:
        """Start the command; whoever asked reads what it says."""
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = subprocess.Popen([sys.executable, "-m", "stopgap", *words], env=self.env, **pipes)
        assert process.stdin
        process.stdin.write(typed)
        process.stdin.close()
        process.stdin = None
        return process

    def decide(self, target: Target, person: Someone, *, verb: str = "approve", code: str = "") -> subprocess.Popen[str]:
        """Let somebody decide in a terminal."""
        return self.stopgap(verb, target.id, "--as", person.id, "--yes", "--code-stdin", typed=f"{code or person.code()}\n")

    def kubernetes(self) -> client.ApiClient:
        made: client.ApiClient = config.new_client_from_config(str(self.world.kubeconfig), context="sandbox")
        return made


@pytest.fixture(scope="module")
def arena(
    prefect_server: PrefectServer, prefect_env: dict[str, str], database_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    """The sandbox, a timeline, people and a worker; one for all the attacks of a file."""
    folder = tmp_path_factory.mktemp("arena")
    with fresh_database(database_server) as url, World(folder / "world") as world, pytest.MonkeyPatch.context() as patch:
        world.seed_demo()
        ours = {
            "STOPGAP_HOME": str(folder / "home"),
            "STOPGAP_DATABASE_URL": url,
            "STOPGAP_TIMELINE_KEY": KEY,
            "STOPGAP_SECRET_KEY": SECRET_KEY,
            "STOPGAP_RUNBOOKS": str(folder / "runbooks"),
        }
        for name, value in ours.items():
            patch.setenv(name, value)
        write(folder / "runbooks", world)
        env = {**prefect_env, **ours}
        login = tuple(prefect_server.auth.split(":", 1))
        with (
            client_of(prefect_server),
            opening.timeline() as timeline,
            httpx.Client(base_url=prefect_server.api_url, auth=login, trust_env=False, timeout=60) as prefect,  # type: ignore[arg-type]  # two
            working(folder, env) as log,
        ):
            api = Api(url=prefect_server.api_url, auth=prefect_server.auth)
            yield Arena(folder=folder / "runbooks", log=log, env=env, world=world, timeline=timeline, api=api, prefect=prefect)


def write(folder: Path, world: World) -> None:
    people = "{" + ", ".join(f"{each}: {{name: {each.upper()}}}" for each in PEOPLE) + "}"
    policy = POLICY.format(people=people, able=f"[{', '.join(PEOPLE[:58])}]", kubeconfig=world.kubeconfig)
    for name, request in REQUESTS.items():
        place = folder / "others" if name == "ask-others" else folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "policy.yaml").write_text(policy)
        (place / f"{name}.yaml").write_text(RUNBOOK.format(name=name, request=request))


class working:  # noqa: N801  reads as a with-block
    """`stopgap worker` beside the test, its log in the folder."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.log, self.env = folder / "worker.log", env

    def __enter__(self) -> Path:
        with self.log.open("ab") as log:
            words = [sys.executable, "-m", "stopgap", "worker", "--deploy", "--patience", "1"]
            self.process = subprocess.Popen(words, env=self.env, stdout=log, stderr=log)
        until(lambda: self.process.poll() is not None or "The worker is ready" in self.log.read_text())
        assert self.process.poll() is None, self.log.read_text()
        return self.log

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)
