"""Each part of a running stopgap killed or told to end in the middle of a step: the run ends as it would have, and its effect happened once."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from kubernetes import client
from kubernetes import config as untyped_config

from stopgap import home
from stopgap.engine import server
from stopgap.engine.api import Api
from stopgap.incidents import fold
from stopgap.incidents.model import RunEnd
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stopgap.timeline.store import PostgresTimeline

config: Any = untyped_config
SOON = 120.0  # seconds; on two busy cores starting everything takes long
POLICY = """\
apiVersion: stopgap/v1
kind: Policy
people: {{ada: {{name: Ada Amari}}}}
teams: {{oncall: [ada]}}
roles: {{incident-commander: {{holders: [ada]}}}}
clusters: {{sandbox: {{kubeconfig: {kubeconfig}, context: sandbox}}}}
"""
RUNBOOK = """\
apiVersion: stopgap/v1
kind: Runbook
name: grow
title: Grow
description: Scales the checkout.
owner: oncall
severity: SEV3
defaults: {cluster: sandbox, namespace: shop}
parameters: {replicas: {type: integer}}
steps:
  - {id: scale, name: Add capacity, uses: kubernetes.scale, with: {deployment: checkout, replicas: "${{ params.replicas }}"}, timeout: 1m}
  - {id: tell, name: Tell people, uses: note, with: {text: "scale was ${{ steps.scale.status }}"}}
"""
GROUP = """\
apiVersion: stopgap/v1
kind: Runbook
name: grow-both
title: Grow both
description: Scales the checkout and its stable twin side by side.
owner: oncall
severity: SEV3
defaults: {cluster: sandbox, namespace: shop}
parameters: {replicas: {type: integer}}
steps:
  - id: both
    parallel:
      - {id: one, uses: kubernetes.scale, with: {deployment: checkout, replicas: "${{ params.replicas }}"}, timeout: 1m}
      - {id: two, uses: kubernetes.scale, with: {deployment: checkout-stable, replicas: "${{ params.replicas }}"}, timeout: 1m}
"""


def until(holds: Callable[[], Any], seconds: float = SOON) -> Any:
    """Wait for something that other processes do; there is nothing to wait on but looking."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
    return found


@dataclass
class Stack:
    """A sandbox whose Pods start slowly, and `stopgap up` beside it."""

    folder: Path
    env: dict[str, str]
    sandbox: dict[str, str]
    up: subprocess.Popen[str]
    timeline: PostgresTimeline
    replicas: int = 3

    def start(self) -> None:
        self.up = _up(self.env)

    def effects(self) -> int:
        found = httpx.get(f"{self.sandbox['url']}/world/effects", trust_env=False).json()
        return int(found["count"])

    def run(self, runbook: str = "grow", *, starts: int = 1) -> str:
        """Start a run, once Prefect is back from what an earlier test did to it, and return its name once so many steps have started."""
        until(self.prefect_answers)
        asked, warning = self.ask(runbook)
        assert not warning
        until(functools.partial(self.has, asked["run"], "step.started", starts))
        return str(asked["run"])

    def ask(self, runbook: str) -> tuple[dict[str, str], str]:
        """Ask for a run; return what it says about it, and what it warns of."""
        self.replicas += 1
        words = [sys.executable, "-m", "stopgap", "run", runbook, "-p", f"replicas={self.replicas}", "--as", "ada", "--json"]
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    def has(self, run: str, kind: str, count: int = 1) -> bool:
        return sum(entry.kind == kind for entry in self.timeline.of_run(run)) >= count

    def kill(self, part: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to every process of this home whose command line has `part`."""
        victims = [pid for pid, command in self.processes().items() if part in command]
        assert victims, f"nothing runs that is called {part}: {self.processes()}"
        for victim in victims:
            os.kill(victim, number)

    def prefect(self) -> Api:
        found = server.read_running(Path(self.env["STOPGAP_HOME"]))
        assert found
        said = found["environment"]
        return Api(url=said["PREFECT_API_URL"], auth=said["PREFECT_API_AUTH_STRING"])

    def prefect_answers(self) -> bool:
        try:
            return httpx.get(f"{self.prefect().url}/health", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def processes(self) -> dict[int, str]:
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                said = command.encode() + (process / "environ").read_bytes()
            except OSError:
                continue
            if str(self.folder / "home").encode() in said and int(process.name) != os.getpid() and "drills.world" not in command:
                found[int(process.name)] = command
        return found


def _up(env: dict[str, str]) -> subprocess.Popen[str]:
    up = subprocess.Popen([sys.executable, "-m", "stopgap", "up"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    until(lambda: server.read_running(Path(env["STOPGAP_HOME"])) or up.poll() is not None)
    assert up.poll() is None
    return up


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with home.temporary() as folder, pytest.MonkeyPatch.context() as patch:
        clean = {name: value for name, value in server.scrubbed(os.environ).items() if not name.startswith("STOPGAP_TEST")}
        world_words = [sys.executable, "-m", "stopgap.drills.world", "--home", str(folder)]
        with subprocess.Popen(world_words, env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as world:
            assert world.stdin
            assert world.stdout
            sandbox = json.loads(world.stdout.readline())
            _slow(sandbox["kubeconfig"])
            (folder / "runbooks").mkdir()
            (folder / "runbooks" / "grow.yaml").write_text(RUNBOOK)
            (folder / "runbooks" / "grow-both.yaml").write_text(GROUP)
            (folder / "runbooks" / "policy.yaml").write_text(POLICY.format(kubeconfig=sandbox["kubeconfig"]))
            env = {**clean, "STOPGAP_HOME": str(folder / "home"), "STOPGAP_RUNBOOKS": str(folder / "runbooks")}
            env.pop("STOPGAP_DATABASE_URL", None)
            patch.setenv("STOPGAP_HOME", str(folder / "home"))
            up = _up(env)
            with opening.timeline() as timeline:
                found = Stack(folder, env, sandbox, up, timeline)
                yield found
                found.up.terminate()
                found.up.wait(SOON)
            world.stdin.close()


def _slow(kubeconfig: str) -> None:
    """Let new Pods take three seconds, so that there is a middle of a step to be killed in."""
    for name in ("checkout", "checkout-stable"):
        _slow_one(kubeconfig, name)


def _slow_one(kubeconfig: str, name: str) -> None:
    with config.new_client_from_config(kubeconfig, context="sandbox") as api:
        image = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry.example/checkout:slow"}]}}}}
        client.AppsV1Api(api).patch_namespaced_deployment(name, "shop", image)

        def is_rolled_out() -> bool:
            status: Any = client.AppsV1Api(api).read_namespaced_deployment(name, "shop").status
            return bool(status.updated_replicas == status.available_replicas == status.replicas)

        until(is_rolled_out)


@pytest.mark.parametrize("part", ["multiprocessing.forkserver", "stopgap worker", "prefect_server", "postgres"])
def test_a_part_killed_in_the_middle_of_a_step_costs_nothing(stack: Stack, part: str) -> None:
    before = stack.effects()
    run = stack.run()
    stack.kill(part)
    _ends_well(stack, run, before)


def test_everything_killed_in_the_middle_of_a_step_costs_nothing(stack: Stack) -> None:
    before = stack.effects()
    run = stack.run()
    stack.up.kill()
    stack.up.wait()
    stack.start()
    _ends_well(stack, run, before)


def test_a_run_asked_for_while_prefect_does_not_answer_begins_once_when_it_does(stack: Stack) -> None:
    until(stack.prefect_answers)
    before, url = stack.effects(), stack.prefect().url
    stack.kill("prefect_server", signal.SIGSTOP)
    asked, warning = stack.ask("grow")
    stack.kill("prefect_server", signal.SIGCONT)
    assert (asked["flow_run"], asked["link"]) == ("", "")
    assert warning == (
        f"Prefect does not answer at {url} (timed out).\n{asked['run']} is asked for, and begins as soon as it can within 30m. "
        f"Asking again would start another run. To end this one:  stopgap abort {asked['run']}\n"
    )
    _ends_well(stack, asked["run"], before)


def test_a_child_killed_with_several_steps_in_flight_costs_nothing(stack: Stack) -> None:
    before = stack.effects()
    run = stack.run("grow-both", starts=2)
    stack.kill("multiprocessing.forkserver")
    _ends_well(stack, run, before, effects=2)


@pytest.mark.parametrize(("runbook", "starts"), [("grow", 1), ("grow-both", 2)])
def test_a_worker_that_is_told_to_end_lets_what_is_in_flight_end_and_hands_the_run_over(stack: Stack, runbook: str, starts: int) -> None:
    before = stack.effects()
    run = stack.run(runbook, starts=starts)
    stack.kill("stopgap worker", signal.SIGTERM)
    _ends_well(stack, run, before, effects=starts)
    kinds = [entry.kind for entry in stack.timeline.of_run(run) if entry.step != "tell"]
    assert kinds.count("step.started") == kinds.count("step.applied") == starts
    assert "run.taken_over" not in kinds  # it was given back, not lost
    assert "step.note" not in kinds  # and nothing was in doubt


@pytest.mark.parametrize(("runbook", "starts"), [("grow", 1), ("grow-both", 2)])
def test_a_run_cancelled_in_prefect_lets_what_is_in_flight_end_and_begins_nothing_more(stack: Stack, runbook: str, starts: int) -> None:
    before = stack.effects()
    run = stack.run(runbook, starts=starts)
    flow_run, api = fold.find_run(stack.timeline, run).flow_run, stack.prefect()
    user, password = api.auth.split(":", 1)
    cancelling = {"state": {"type": "CANCELLING"}}
    said = httpx.post(f"{api.url}/flow_runs/{flow_run}/set_state", json=cancelling, auth=(user, password), trust_env=False)
    assert said.json()["status"] == "ACCEPT"
    until(functools.partial(_has_ended, stack, run))
    ended = fold.find_run(stack.timeline, run)
    assert ended.end is (RunEnd.ABORTED if runbook == "grow" else RunEnd.DONE)  # which has only this one step
    assert {step.id for step in ended.steps.values() if step.change} == ({"scale"} if runbook == "grow" else {"one", "two"})
    assert not any(step.is_in_doubt for step in ended.steps.values())
    assert stack.effects() - before == starts
    until(lambda: api.flow_run(flow_run).has_ended)


def test_a_run_whose_file_was_changed_meanwhile_ends_and_says_what_nobody_knows_and_the_next_one_is_of_the_new_file(stack: Stack) -> None:
    path = stack.folder / "runbooks" / "grow.yaml"
    run = stack.run()
    path.write_text(RUNBOOK.replace("Add capacity", "Add more capacity"))
    stack.kill("multiprocessing.forkserver")
    until(functools.partial(_has_ended, stack, run))
    (last,) = [entry for entry in stack.timeline.of_run(run) if entry.kind == "run.finished"]
    assert f"{run} was asked for with version" in last.text
    assert last.text.endswith(f"Nobody knows whether this happened: scale. To take back what it did:  stopgap undo {run}")
    before = stack.effects()
    again = stack.run()
    _ends_well(stack, again, before)
    ended = stack.timeline.find(f"step.finished/{again}/scale")
    assert ended
    assert ended.text.startswith("Add more capacity")


def _ends_well(stack: Stack, run: str, before: int, *, effects: int = 1) -> None:
    until(functools.partial(_has_ended, stack, run))
    assert fold.find_run(stack.timeline, run).end is RunEnd.DONE
    assert stack.effects() - before == effects
    assert stack.timeline.verify().damages == ()


def _has_ended(stack: Stack, run: str) -> bool:
    try:
        return stack.has(run, "run.finished")
    except Exception as error:
        if "database" in str(error).lower() or "connect" in str(error).lower():
            return False  # it is being started again
        raise
