"""prefect.yaml, from which Prefect's own `prefect deploy --all` registers the runbooks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prefect.client.orchestration import get_client

from fixtures_prefect import client_of
from stopgap.engine import deploy, server
from stopgap.runbook import load

PROJECT = Path(__file__).parents[2]


def test_it_is_what_the_runbooks_say_today() -> None:
    written = (PROJECT / "prefect.yaml").read_text()
    assert written == deploy.project_file(load.load_all(PROJECT / "runbooks")), "write it again:  stopgap deploy --write prefect.yaml"


def test_prefects_own_command_registers_every_runbook_from_it(prefect_server: server.PrefectServer, prefect_env: dict[str, str]) -> None:
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    subprocess.run(
        [*prefect, "work-pool", "create", "stopgap", "--type", "process"], env=prefect_env, check=True, stdout=subprocess.DEVNULL
    )
    done = subprocess.run([*prefect, "deploy", "--all"], env=prefect_env, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with client_of(prefect_server), get_client(sync_client=True) as client:
        found = client.read_deployment_by_name("checkout-latency/stopgap")
        assert found.entrypoint == "flows/stopgap_flows.py:checkout_latency"
        assert found.pull_steps == [{"prefect.deployments.steps.set_working_directory": {"directory": str(PROJECT)}}]
        assert found.parameter_openapi_schema
        fields = found.parameter_openapi_schema["properties"]
        runbook = load.load_all(PROJECT / "runbooks")["checkout-latency"]
        assert sorted(fields, key=lambda name: fields[name]["position"]) == [*runbook.parameters, "stopgap_run"]
        for deployment in deploy.ours(client):
            client.delete_deployment(deployment.id)
