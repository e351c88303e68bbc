"""`stopgap up`: an alert is posted, and its runbook has run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fixtures_alerts import POLICY, RUNBOOK, TOKEN, alert, group_of
from stopgap import home
from stopgap.engine import server
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STOPGAP = [sys.executable, "-m", "stopgap"]


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A running `stopgap up` with a runbook that alerts start; what it wrote about itself."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "tell.yaml").write_text(RUNBOOK)
    with home.temporary() as folder:
        clean = {name: value for name, value in server.scrubbed(os.environ).items() if not name.startswith("STOPGAP_")}
        env = {**clean, "STOPGAP_HOME": str(folder), "STOPGAP_RUNBOOKS": str(tmp_path), "TEST_ALERT_TOKEN": TOKEN}
        monkeypatch.setenv("STOPGAP_HOME", str(folder))
        monkeypatch.delenv("STOPGAP_DATABASE_URL", raising=False)
        with (tmp_path / "up.log").open("w") as log:
            process = subprocess.Popen([*STOPGAP, "up", "--until-eof"], env=env, stdin=subprocess.PIPE, stdout=log, stderr=log)
            try:
                deadline = time.monotonic() + 120
                while (found := server.read_running(folder)) is None:
                    assert process.poll() is None, (tmp_path / "up.log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                yield found
            finally:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)


def test_an_alert_that_is_posted_runs_its_runbook_once(up: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    firing = alert()
    for _ in range(3):
        assert httpx.post(f"{up['alerts_url']}alertmanager", json=group_of(firing), headers=headers, trust_env=False).status_code == 202
    with opening.timeline() as timeline:
        deadline = time.monotonic() + 60
        while not (ended := timeline.of_kind("run.finished")):
            assert time.monotonic() < deadline, [entry.text for entry in timeline.of_chain("INC-1")]
            time.sleep(0.1)
        assert [entry.data["end"] for entry in ended] == ["done"]
        assert [entry.run for entry in timeline.of_kind("run.requested")] == ["INC-1.1"]
        assert timeline.verify().damages == ()
