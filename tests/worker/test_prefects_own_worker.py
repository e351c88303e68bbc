"""The plain fallback: prefect.yaml, `prefect deploy --all`, and Prefect's own process worker carry a runbook out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prefect.client.orchestration import get_client

from fixtures_engine import texts
from stopgap.engine import deploy, start
from stopgap.engine.api import Api
from stopgap.incidents.model import RunEnd

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from stopgap.engine.server import PrefectServer

ROOT = Path(__file__).parents[2]
STEPS = """\
steps:
  - {id: scale, name: Add capacity, uses: kubernetes.scale, with: {deployment: checkout, replicas: 4}}
"""


@pytest.mark.usefixtures("prefect_settings")
def test_prefects_own_worker_carries_a_runbook_out(bench: Bench, prefect_server: PrefectServer, prefect_env: dict[str, str]) -> None:
    work = bench.work(STEPS)
    (bench.folder / "flows").symlink_to(ROOT / "flows")
    (bench.folder / "prefect.yaml").write_text(deploy.project_file({work.runbook.name: work.runbook}))
    stopgap = {name: value for name, value in os.environ.items() if name.startswith("STOPGAP_")}
    env = {**prefect_env, **stopgap, "STOPGAP_RUNBOOKS": str(bench.folder)}

    def prefect(*words: str) -> None:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
        done = subprocess.run(command, cwd=bench.folder, env=env, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    prefect("work-pool", "create", "stopgap", "--type", "process", "--overwrite")
    prefect("deploy", "--all")
    api = Api(url=prefect_server.api_url, auth=prefect_server.auth)
    start.schedule(bench.timeline, api, work.run())
    prefect("worker", "start", "--pool", "stopgap", "--run-once")
    assert work.run().end is RunEnd.DONE
    assert texts(work, "run.finished") == ["A test: done. Done: scale. Not done: nothing."]
    assert bench.replicas() == 4
    with get_client(sync_client=True) as client:
        client.delete_work_pool("stopgap")
        for found in deploy.ours(client):
            if found.entrypoint and "/" in found.entrypoint:
                client.delete_deployment(found.id)
