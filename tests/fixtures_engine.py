"""Runs on the sandbox without Prefect: the engine's own logic, on the real timeline."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client
from kubernetes import config as untyped_config

from stopgap.clock import SystemClock
from stopgap.drills.world import seed
from stopgap.engine import run as runs
from stopgap.engine.work import Work
from stopgap.incidents.model import Mode, Run, RunEnd
from stopgap.incidents.open import open_incident, request_run
from stopgap.plan import parameters
from stopgap.policy import load as policies
from stopgap.runbook import load as runbooks
from stopgap.testing import ScriptedStage
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from stopgap.drills.world import World
    from stopgap.policy.model import Policy
    from stopgap.timeline.store import PostgresTimeline

config: Any = untyped_config
POLICY = """\
apiVersion: stopgap/v1
kind: Policy
people: {{ada: {{name: Ada Amari}}, ben: {{name: Ben Brandt}}, chen: {{name: Chen Li}}, dana: {{name: Dana Diaz}}}}
teams: {{oncall: [ada, ben]}}
roles:
  incident-commander: {{holders: [ada], deputies: [ben]}}
  technical-lead: {{holders: [chen]}}
  engineering-manager: {{holders: [dana]}}
clusters: {{sandbox: {{kubeconfig: {kubeconfig}, context: sandbox}}}}
limits: {{namespaces: [shop], max_replicas: 20}}
approvals: {{require_code: false}}
"""
HEAD = """\
apiVersion: stopgap/v1
kind: Runbook
name: test-runbook
title: A test
description: A runbook of the tests.
owner: oncall
severity: SEV3
defaults: {cluster: sandbox, namespace: shop}
"""


@dataclass(slots=True)
class Bench:
    """A sandbox, a policy for it, and a timeline to run on."""

    folder: Path
    world: World
    timeline: PostgresTimeline
    policy: Policy

    def work(
        self,
        steps: str,
        *,
        starter: str = "dana",
        mode: Mode = Mode.LIVE,
        given: Mapping[str, str] | None = None,
        head: str = HEAD,
        **values: Any,
    ) -> Work:
        """Write a runbook with these steps, ask for a run of it, and return what carries it out."""
        path = self.folder / "test-runbook.yaml"
        path.write_text(head + steps)
        runbook = runbooks.load(path)
        key = uuid.uuid4().hex
        incident = open_incident(
            self.timeline, title="A test", severity=runbook.severity, actor="dana", key=key, drill=mode is not Mode.LIVE
        )
        checked = parameters.check(runbook, values)
        run = request_run(
            self.timeline, incident=incident, runbook=runbook, parameters=checked, mode=mode, starter=starter, key=key, given=given
        )
        return Work(
            timeline=self.timeline, clock=SystemClock(), policy=self.policy, runbook=runbook, id=run.id, mode=mode, parameters=checked
        )

    def replicas(self, name: str = "checkout") -> int:
        """Return how many replicas the sandbox's Deployment wants."""
        with self._api() as api:
            found: Any = client.AppsV1Api(api).read_namespaced_deployment(name, "shop")
            return int(found.spec.replicas)

    def meddle(self, replicas: int, name: str = "checkout") -> None:
        """Scale a Deployment of the shop behind the run's back."""
        with self._api() as api:
            client.AppsV1Api(api).patch_namespaced_deployment(name, "shop", {"spec": {"replicas": replicas}})

    def deploy(self, name: str) -> None:
        """Put one more Deployment into the shop, with one replica."""
        with self._api() as api:
            body: Any = seed.deployment(name=name, image=seed.GOOD, replicas=1, labels={"app": name})
            client.AppsV1Api(api).create_namespaced_deployment("shop", body)

    def _api(self) -> client.ApiClient:
        made: client.ApiClient = config.new_client_from_config(str(self.world.kubeconfig), context="sandbox")
        return made


@pytest.fixture
def bench(tmp_path: Path, world: World, stopgap_home: Path) -> Iterator[Bench]:
    """A seeded sandbox shop and a policy that names it."""
    world.seed_demo()
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(kubeconfig=world.kubeconfig))
    assert stopgap_home
    with opening.timeline() as timeline:  # by the machine's clock, as the sandbox
        yield Bench(tmp_path, world, timeline, policies.load(path))


@dataclass(frozen=True, slots=True)
class Ahead(SystemClock):
    """The machine's clock, so much later."""

    by: timedelta

    def now(self) -> datetime:
        """Return the moment after so long."""
        return datetime.now(UTC) + self.by

    def monotonic(self) -> float:
        """Return the seconds after so long."""
        return time.monotonic() + self.by.total_seconds()


def no_policy(_runbook: str) -> None:
    """Every policy is broken just now."""


def carry_out(work: Work, **answers: Any) -> RunEnd:
    """Carry a run out with scripted people; ScriptedStage.StillWaiting when it waits for one."""
    return asyncio.run(runs.carry_out(work, ScriptedStage(work, {name.replace("__", "."): each for name, each in answers.items()})))


def statuses(run: Run) -> dict[str, str]:
    """Return how each step ended."""
    return {str(step.id): str(step.status) for step in run.steps.values()}


def texts(work: Work, kind: str) -> list[str]:
    """Return the sentences of a kind on the run's timeline."""
    return [entry.text for entry in work.entries() if entry.kind == kind]
