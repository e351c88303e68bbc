"""A receiver of alerts on loopback, with runbooks and a policy of its own, on the test's timeline."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from stopgap import home
from stopgap.alerts.receive import chain_of
from stopgap.clock import SystemClock
from stopgap.engine import server as prefect_server
from stopgap.engine.intake import Intake
from stopgap.engine.rules import Watched
from stopgap.incidents import fold
from stopgap.timeline import open as opening
from stopgap.web import app, server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stopgap.incidents.model import Incident, Run
    from stopgap.timeline.entry import Entry
    from stopgap.timeline.store import PostgresTimeline

STOPGAP = [sys.executable, "-m", "stopgap"]
TOKEN = "a token of the tests"
POLICY = """\
apiVersion: stopgap/v1
kind: Policy
people: {ada: {name: Ada Amari}, ben: {name: Ben Brandt}}
teams: {oncall: [ada, ben]}
roles: {incident-commander: {holders: [ada]}}
approvals: {require_code: false}
alerts:
  sources:
    alertmanager:
      secret: {env: TEST_ALERT_TOKEN}
      severities: {critical: SEV1, warning: SEV3}
"""
RUNBOOK = """\
apiVersion: stopgap/v1
kind: Runbook
name: tell
title: Tell people
description: Leaves a note.
owner: oncall
severity: SEV3
triggers:
  - source: alertmanager
    match: {alertname: HighErrorRate}
    cooldown: 15m
steps:
  - id: tell
    name: Tell people
    uses: note
    with: {text: hello}
"""


@dataclass(slots=True)
class Desk:
    """A receiver that serves, and what the test needs to talk to it and to look behind it."""

    url: str
    name: str
    timeline: PostgresTimeline
    folder: Path
    http: httpx.Client
    handed: list[Run] = field(default_factory=list)

    def post(self, body: Any, *, source: str = "alertmanager", token: str = TOKEN, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(f"/alerts/{source}", content=content, headers={"Authorization": f"Bearer {token}", **headers})

    def settle(self) -> None:
        """Wait until all that was accepted is acted on."""
        deadline = datetime.now(UTC) + timedelta(seconds=20)
        while self.timeline.intake.behind(by=timedelta(0), now=datetime.now(UTC) + timedelta(hours=1)):
            assert datetime.now(UTC) < deadline, "what was accepted is not acted on"
            threading.Event().wait(0.02)

    def tell(self, *alerts: dict[str, Any], **group: Any) -> None:
        """Post a group and wait until it is acted on."""
        answer = self.post(group_of(*alerts, **group))
        assert answer.status_code == 202, answer.text
        self.settle()

    def kinds(self, incident: str) -> list[str]:
        return [entry.kind for entry in self.timeline.of_chain(incident)]

    def texts(self, kind: str) -> list[str]:
        return [entry.text for entry in self.timeline.of_kind(kind)]

    def runs(self) -> list[str]:
        return [entry.run for entry in self.timeline.of_kind("run.requested")]

    def incidents(self) -> list[Incident]:
        return [fold.find_incident(self.timeline, name) for name in reversed(self.timeline.chains())]

    def received(self) -> tuple[Entry, ...]:
        return self.timeline.of_chain(chain_of(self.name))


def alert(
    name: str = "HighErrorRate", *, status: str = "firing", started: datetime | None = None, ended: datetime | None = None, **labels: str
) -> dict[str, Any]:
    """One alert as Alertmanager posts it; the same labels have the same fingerprint."""
    labels = {"alertname": name, "severity": "critical", **labels}
    return {
        "status": status,
        "labels": labels,
        "annotations": {"summary": f"{name} of {labels.get('service', 'all')}"},
        "startsAt": (started or datetime.now(UTC)).isoformat(),
        "endsAt": (ended or datetime.now(UTC)).isoformat() if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": f"{name}-{labels.get('service', '')}",
    }  # fmt: skip


def group_of(*alerts: dict[str, Any], **group: Any) -> dict[str, Any]:
    return {"version": "4", "status": alerts[0]["status"] if alerts else "firing", "alerts": list(alerts), "truncatedAlerts": 0, **group}


@contextmanager
def serving(timeline: PostgresTimeline, folder: Path, *, name: str = "one") -> Iterator[Desk]:
    """Serve in a thread, on a port of its own."""
    listening = server.listen("127.0.0.1", 0)
    handed: list[Run] = []
    watched = Watched(folder)
    intake = Intake(timeline=timeline, clock=SystemClock(), rules=watched, hand_over=handed.append)
    ready = threading.Event()
    served = server.serving(app.application(name=name, timeline=timeline, watched=watched, intake=intake), ready.set)
    thread = threading.Thread(target=lambda: asyncio.run(served.serve(sockets=[listening])))
    thread.start()
    assert ready.wait(20)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        yield Desk(url=url, name=name, timeline=timeline, folder=folder, http=http, handed=handed)
    served.should_exit = True
    thread.join(20)
    listening.close()
    assert not thread.is_alive()


@pytest.fixture
def alert_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy that takes Alertmanager's alerts, and a runbook that they start."""
    monkeypatch.setenv("TEST_ALERT_TOKEN", TOKEN)
    folder = tmp_path / "runbooks"
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "tell.yaml").write_text(RUNBOOK)
    return folder


@pytest.fixture
def desk(stopgap_home: Path, alert_rules: Path) -> Iterator[Desk]:
    """A receiver on the test's own timeline, by the machine's clock."""
    assert stopgap_home
    with opening.timeline() as timeline, serving(timeline, alert_rules) as found:
        yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """A running `stopgap up`: the environment of everything that belongs to it, and what it wrote about itself."""

    env: dict[str, str]
    running: dict[str, Any]

    def stopgap(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*STOPGAP, *words], env=self.env, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def everything(rules: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Everything]:
    """Run `stopgap up` with the policy and the runbooks of a folder, on a home of its own, which is this process's, too."""
    with home.temporary() as folder, (folder / "up.log").open("w") as log:
        clean = {name: value for name, value in prefect_server.scrubbed(os.environ).items() if not name.startswith("STOPGAP_")}
        env = {**clean, "STOPGAP_HOME": str(folder), "STOPGAP_RUNBOOKS": str(rules), "TEST_ALERT_TOKEN": TOKEN}
        monkeypatch.setenv("STOPGAP_HOME", str(folder))
        monkeypatch.delenv("STOPGAP_DATABASE_URL", raising=False)
        monkeypatch.delenv("STOPGAP_TIMELINE_KEY", raising=False)
        process = subprocess.Popen([*STOPGAP, "up", "--until-eof"], env=env, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 120
            while (found := prefect_server.read_running(folder)) is None:
                assert process.poll() is None, (folder / "up.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield Everything(env=env, running=found)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
