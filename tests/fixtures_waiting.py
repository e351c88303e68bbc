"""A run on the real Prefect server that stands at its gate."""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Pending

from stopgap.approvals import gate as gates
from stopgap.engine import deploy, flows, start
from stopgap.engine.api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fixtures_engine import Bench
    from stopgap.engine.server import PrefectServer
    from stopgap.engine.work import Work

STEPS = """\
steps:
  - id: scale
    name: Add capacity
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 4}
    approval: {by: [incident-commander]}
"""


def collect() -> None:
    """Collect the sockets that Prefect's event feed leaves behind when a flow run ends in this process, here and not in another test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@dataclass(slots=True)
class Waiting:
    """A flow run that was started and stands at its gate."""

    work: Work
    client: SyncPrefectClient
    flow_run: UUID
    folder: Any

    def execute(self) -> State[Any] | None:
        """Run the flow run in this process, as a worker's child does; None when it suspended."""
        assert self.client.set_flow_run_state(self.flow_run, Pending()).status.value == "ACCEPT"
        flow_run = self.client.read_flow_run(self.flow_run)
        try:
            running: Any = run_flow(flows.compile_flow(self.work.runbook), flow_run=flow_run, return_type="state")
            found: State[Any] = asyncio.run(running)
        except Pause:
            return None
        finally:
            collect()
        return found

    def answer(self, **changed: str) -> dict[str, Any]:
        """Fill in the form as the UI does and submit it; the server's answer."""
        gate = gates.waiting(self.work.entries())
        assert gate
        fields = {"decision": "approve", "change": gate.digest, "name": "ada", "reason": "", **changed}
        return self.resume({"run_input": fields})

    def resume(self, body: dict[str, Any] | None) -> dict[str, Any]:
        found = self.client.request("POST", "/flow_runs/{id}/resume", path_params={"id": self.flow_run}, json=body)
        answer: dict[str, Any] = found.json()
        return answer

    def description(self) -> str:
        """What the form says."""
        filters = {"prefix": "suspended", "limit": 20}
        inputs = self.client.request("POST", "/flow_runs/{id}/input/filter", path_params={"id": self.flow_run}, json=filters).json()
        return str(next(json.loads(each["value"]) for each in inputs if each["key"].endswith("-description")))

    def state(self) -> State[Any]:
        found = self.client.read_flow_run(self.flow_run).state
        assert found
        return found


@pytest.fixture
def waiting(
    bench: Bench, prefect_server: PrefectServer, prefect_settings: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Waiting]:
    """A run of these steps, or of others that the test gives as this fixture's parameter."""
    assert prefect_settings is None  # asked for, so that Prefect's client talks to the session's server
    prefect_api = Api(url=prefect_server.api_url, auth=prefect_server.auth)
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(bench.folder))
    work = bench.work(getattr(request, "param", STEPS))
    deploy.deploy({work.runbook.name: work.runbook})
    with get_client(sync_client=True) as client:
        flow_run = UUID(start.schedule(bench.timeline, prefect_api, work.run()))
        found = Waiting(work, client, flow_run, bench.folder)
        assert found.execute() is None
        assert found.state().type is StateType.PAUSED
        yield found
    collect()
