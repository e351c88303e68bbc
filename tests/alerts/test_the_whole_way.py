"""`stopgap up`: an alert is posted, and its runbook has run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx

from fixtures_alerts import POLICY, RUNBOOK, TOKEN, alert, everything, group_of
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_an_alert_that_is_posted_runs_its_runbook_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "tell.yaml").write_text(RUNBOOK)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    firing = alert()
    with everything(tmp_path, monkeypatch) as up:
        for _ in range(3):
            answer = httpx.post(f"{up.running['alerts_url']}alertmanager", json=group_of(firing), headers=headers, trust_env=False)
            assert answer.status_code == 202
        with opening.timeline() as timeline:
            deadline = time.monotonic() + 60
            while not (ended := timeline.of_kind("run.finished")):
                assert time.monotonic() < deadline, [entry.text for entry in timeline.of_chain("INC-1")]
                time.sleep(0.1)
            assert [entry.data["end"] for entry in ended] == ["done"]
            assert [entry.run for entry in timeline.of_kind("run.requested")] == ["INC-1.1"]
            assert timeline.verify().damages == ()
