"""Two workers in two homes, with one database and one Prefect: one is killed in the middle, a process is stopped for long; each effect happens once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client
from kubernetes import config as untyped_config
from prefect.client.orchestration import get_client

from fixtures_engine import HEAD
from fixtures_prefect import client_of
from fixtures_sandbox import deployment
from stopgap.engine import deploy, start
from stopgap.engine.api import Api
from stopgap.incidents import fold
from stopgap.incidents.model import Mode, RunEnd
from stopgap.incidents.open import open_incident, request_run
from stopgap.runbook import load as runbooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fixtures_engine import Bench
    from stopgap.engine.server import PrefectServer
    from stopgap.runbook.model import Runbook

config: Any = untyped_config
RUNS = int(os.environ.get("STOPGAP_TEST_RUNS", "20"))
SOON = 120.0  # seconds; a loaded machine is slow
STEPS = """\
parameters: {name: {type: string}}
steps:
  - {id: scale, name: Add capacity, uses: kubernetes.scale, with: {deployment: "${{ params.name }}", replicas: 2}, timeout: 1m}
  - {id: tell, name: Say so, uses: note, with: {text: "scale was ${{ steps.scale.status }}"}}
"""


def until(holds: Callable[[], Any], seconds: float = SOON) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)
    return found


@dataclass
class Stack:
    """Two workers beside each other, and what they run."""

    bench: Bench
    env: dict[str, str]
    api: Api
    runbook: Runbook
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker in a home of its own; it is ready when this returns."""
        receiver, sender = os.pipe()
        env = {**self.env, "STOPGAP_HOME": str(self.bench.folder / f"home{len(self.workers)}")}
        with (self.bench.folder / f"worker{len(self.workers)}.log").open("wb") as log:
            started = subprocess.Popen(
                [sys.executable, "-m", "stopgap", "worker", "--at-once", "4", "--ready", str(sender)],
                env=env, pass_fds=[sender], stdin=subprocess.PIPE, stdout=log, stderr=log,
            )  # fmt: skip
        os.close(sender)
        with os.fdopen(receiver, "rb") as pipe:
            assert pipe.readline() == b"ready\n"
        self.workers.append(started)
        return started

    def ask(self, name: str, *, image: str = "registry.example/web:1") -> str:
        """Make a Deployment and ask for a run that scales it."""
        with config.new_client_from_config(str(self.bench.world.kubeconfig), context="sandbox") as api:
            body: Any = deployment(image, name=name)
            client.AppsV1Api(api).create_namespaced_deployment("shop", body)
        timeline = self.bench.timeline
        incident = open_incident(timeline, title=name, severity=self.runbook.severity, actor="dana", key=name)
        run = request_run(
            timeline, incident=incident, runbook=self.runbook, parameters={"name": name}, mode=Mode.LIVE, starter="dana", key=name
        )
        start.schedule(timeline, self.api, run)
        return run.id

    def ended(self, runs: list[str]) -> list[str]:
        return [run for run in runs if self.has(run, "run.finished")]

    def has(self, run: str, kind: str) -> bool:
        return any(entry.kind == kind for entry in self.bench.timeline.of_run(run))

    def states(self, runs: list[str]) -> set[str]:
        return {self.api.flow_run(fold.find_run(self.bench.timeline, run).flow_run).state for run in runs}


@pytest.fixture
def stack(bench: Bench, prefect_server: PrefectServer, prefect_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    path = bench.folder / "test-runbook.yaml"
    path.write_text(HEAD + STEPS)
    runbook = runbooks.load(path)
    monkeypatch.setenv("STOPGAP_LEASE", "3s")
    monkeypatch.setenv("STOPGAP_LONGEST_CALL", "3s")
    ours = {name: value for name, value in os.environ.items() if name.startswith("STOPGAP_")}
    env = {**prefect_env, **ours, "STOPGAP_RUNBOOKS": str(bench.folder)}
    with client_of(prefect_server), get_client(sync_client=True) as prefect:
        (deployed,) = deploy.deploy({runbook.name: runbook})
        made = Stack(bench, env, Api(url=prefect_server.api_url, auth=prefect_server.auth), runbook)
        yield made
        for worker in made.workers:
            worker.terminate()
            worker.communicate(timeout=SOON)
        prefect.delete_deployment(deployed.id)


def test_one_of_two_workers_killed_in_the_middle_loses_nothing_and_repeats_nothing(stack: Stack) -> None:
    first, _second = stack.worker(), stack.worker()
    runs = [stack.ask(f"app-{number}") for number in range(RUNS)]
    until(lambda: len(stack.ended(runs)) >= RUNS // 4)
    first.kill()
    until(lambda: len(stack.ended(runs)) == RUNS)
    assert {fold.find_run(stack.bench.timeline, run).end for run in runs} == {RunEnd.DONE}
    scaled = Counter(effect["name"] for effect in stack.bench.world.effects() if effect["verb"] == "patch")
    assert scaled == {f"app-{number}": 1 for number in range(RUNS)}
    until(lambda: stack.states(runs) == {"COMPLETED"})
    assert stack.bench.timeline.verify().damages == ()


def test_a_process_that_was_stopped_for_long_does_nothing_more(stack: Stack) -> None:
    stack.worker()
    (run,) = [stack.ask("app", image="registry.example/checkout:slow")]
    until(lambda: stack.has(run, "step.started"))
    before = len(stack.bench.world.effects())
    victim = int(stack.bench.timeline.leases.of_all()[run].place.rpartition(" ")[2])
    os.kill(victim, signal.SIGSTOP)
    os.kill(stack.workers[0].pid, signal.SIGSTOP)  # its worker neither: as a machine that hangs
    stack.worker()
    try:
        until(lambda: stack.has(run, "run.finished"))
    finally:
        for pid in (stack.workers[0].pid, victim):
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGCONT)
    assert fold.find_run(stack.bench.timeline, run).end is RunEnd.DONE
    assert stack.has(run, "run.taken_over")
    until(lambda: stack.states([run]) == {"COMPLETED"})
    assert len(stack.bench.world.effects()) - before <= 1
    kinds = [entry.kind for entry in stack.bench.timeline.of_run(run)]
    assert kinds.count("run.finished") == 1
    assert kinds[-1] == "run.finished"
