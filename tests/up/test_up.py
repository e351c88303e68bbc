"""`stopgap up`: one on a home, everything it started ends with it, and what dies is started again."""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from stopgap import home
from stopgap.engine import server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOON = 120.0  # seconds; on two busy cores starting everything takes long
STOPGAP = [sys.executable, "-m", "stopgap"]


def until(holds: Callable[[], Any], seconds: float = SOON) -> Any:
    """Wait for something that other processes do; there is nothing to wait on but looking."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)
    return found


@dataclass
class Place:
    """A home of the test's own, and a folder with one runbook."""

    home: Path
    env: dict[str, str]

    def up(self) -> subprocess.Popen[str]:
        return subprocess.Popen([*STOPGAP, "up"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ready(self, up: subprocess.Popen[str]) -> list[str]:
        """Read what it prints until it is ready."""
        assert up.stdout
        lines = []
        for line in up.stdout:
            lines.append(line.rstrip())
            if line.startswith("  next "):
                return lines
        assert up.stderr
        raise AssertionError(f"it ended with {up.wait()}: {up.stderr.read()}")

    def processes(self) -> dict[int, str]:
        """Everything that runs with this home in its command line or its environment."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if str(self.home).encode() in said and state != "Z" and int(process.name) != os.getpid():
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def has_another(self, part: str, victim: int) -> bool:
        return any(part in command for pid, command in self.processes().items() if pid != victim)

    def running(self) -> dict[str, Any]:
        found = server.read_running(self.home)
        assert found
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with home.temporary() as folder:
        (tmp_path / "note.yaml").write_text(RUNBOOK)
        clean = {name: value for name, value in server.scrubbed(os.environ).items() if not name.startswith("STOPGAP_")}
        found = Place(home=folder, env={**clean, "STOPGAP_HOME": str(folder), "STOPGAP_RUNBOOKS": str(tmp_path)})
        yield found
        for pid in found.processes():
            os.kill(pid, signal.SIGKILL)


RUNBOOK = """\
apiVersion: stopgap/v1
kind: Runbook
name: tell
title: Tell people
description: Leaves a note.
owner: oncall
severity: SEV3
steps:
  - id: tell
    name: Tell people
    uses: note
    with: {text: hello}
"""


def test_it_says_where_everything_is_and_ctrl_c_ends_it_all(place: Place) -> None:
    up = place.up()
    lines = place.ready(up)
    ui = place.running()["ui_url"]
    assert lines[0] == f"stopgap is ready (process {up.pid}). ctrl-C ends it."
    assert lines[1] == f"  Prefect    {ui}    log in with the text in {place.home / 'prefect.auth'}"
    assert (place.home / "up.json").stat().st_mode & 0o777 == 0o600
    auth = (place.home / "prefect.auth").read_text().split(":")
    with httpx.Client(trust_env=False, auth=(auth[0], auth[1])) as client:
        (deployment,) = client.post(f"{ui}/api/deployments/filter", json={}).json()
    assert (deployment["name"], deployment["entrypoint"]) == ("stopgap", "stopgap_flows.tell")

    second = subprocess.run([*STOPGAP, "up"], env=place.env, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert second.stderr.splitlines()[1:] == [
        f"stopgap up already runs on {place.home} (process {up.pid}) at {ui}.",
        f"End that one first:  kill {up.pid}",
    ]

    up.send_signal(signal.SIGINT)
    _, said = up.communicate(timeout=SOON)
    assert up.returncode == 0
    assert said.splitlines()[-1] == "Everything has ended."
    assert place.processes() == {}
    assert not (place.home / "up.json").exists()


def test_a_part_that_is_killed_comes_back_and_a_killed_up_leaves_nothing(place: Place) -> None:
    up = place.up()
    place.ready(up)
    ui = place.running()["ui_url"]
    for part in ("prefect_server", "stopgap worker"):
        (victim,) = (pid for pid, command in place.processes().items() if part in command)
        os.kill(victim, signal.SIGKILL)
        until(functools.partial(place.has_another, part, victim))
    until(lambda: answers(ui))
    assert place.running()["ui_url"] == ui

    up.kill()
    up.communicate()
    until(lambda: not place.processes(), seconds=30)
    again = place.up()
    place.ready(again)
    assert place.running()["ui_url"] == ui, "links that were given out still lead somewhere"
    again.terminate()
    again.communicate(timeout=SOON)
    assert again.returncode == 0


def answers(ui: str) -> bool:
    try:
        return httpx.get(f"{ui}/api/health", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def test_told_to_end_while_it_starts_it_leaves_nothing(place: Place) -> None:
    up = place.up()
    until(lambda: any("prefect_server" in command for command in place.processes().values()))
    up.terminate()
    up.communicate(timeout=SOON)
    assert up.returncode == 0
    assert place.processes() == {}


def test_a_home_that_cannot_be_written_to_is_named(place: Place) -> None:
    blocked = place.home / "file"
    blocked.touch()
    ended = subprocess.run(
        [*STOPGAP, "up"], env={**place.env, "STOPGAP_HOME": str(blocked / "home")}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[1:] == [
        f"{blocked / 'home'} cannot be written to: Not a directory.",
        "Name another folder:  STOPGAP_HOME=path/to/folder stopgap up",
    ]


def test_a_database_of_another_version_is_left_alone(place: Place) -> None:
    (place.home / "postgres" / "12").mkdir(parents=True)
    ended = subprocess.run([*STOPGAP, "up"], env=place.env, capture_output=True, text=True, check=False, timeout=SOON)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[1].startswith(
        f"{place.home / 'postgres' / '12'} holds data of PostgreSQL 12, and this stopgap carries"
    )
    assert place.processes() == {}


def test_a_taken_port_is_said_and_another_is_used(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (place.home / "prefect.json").write_text(json.dumps({"port": port}))
        up = place.up()
        until(lambda: any("prefect_server" in command for command in place.processes().values()))
        up.terminate()
        _, said = up.communicate(timeout=SOON)
    assert f"Port {port} is taken by another program; Prefect is at http://127.0.0.1:" in said


def test_without_runbooks_it_says_where_it_looked(place: Place) -> None:
    env = {**place.env, "STOPGAP_RUNBOOKS": str(place.home / "none")}
    ended = subprocess.run([*STOPGAP, "up"], env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[1] == f"STOPGAP_RUNBOOKS names {place.home / 'none'}, which is not a folder."
