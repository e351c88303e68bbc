"""Hands an asked-for run to Prefect, and wakes one that sleeps at its gate. Both may be repeated: neither happens twice."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import httpx
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Scheduled

from stopgap.engine import deploy, journal
from stopgap.engine.form import RUN
from stopgap.incidents.model import Mode
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from stopgap.incidents.model import Run
    from stopgap.timeline.entry import Timeline


class NotDeployedError(StopgapError):
    """Prefect has no deployment of this runbook. Register it first:  stopgap deploy"""


class PrefectAwayError(StopgapError):
    """Prefect does not answer; what was asked for is on the timeline and starts when it is back."""


def schedule(timeline: Timeline, client: SyncPrefectClient, run: Run) -> str:
    """Create the flow run of a run, once, and return its id. The run is the idempotency key: a repeat gets the first one."""
    try:
        deployment = client.read_deployment_by_name(f"{run.runbook}/{deploy.NAME}")
        # Only the run's id travels: Prefect renders templates in parameters, and these may come from an alert.
        body = {
            "parameters": {RUN: run.id},
            "enforce_parameter_schema": False,
            "name": f"{run.incident} {run.runbook}",
            "idempotency_key": f"{run.id}/{run.key}",  # a run id alone may come again, after a new database or beside another stopgap
            "tags": [run.incident, *([] if run.mode is Mode.LIVE else [str(run.mode)])],
            "state": {"type": "SCHEDULED"},
        }
        answer = client.request("POST", "/deployments/{id}/create_flow_run", path_params={"id": deployment.id}, json=body)
        flow_run = str(answer.json()["id"])
    except ObjectNotFound as error:
        raise NotDeployedError(f"Prefect has no deployment of {run.runbook}. Register it first:  stopgap deploy") from error
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise PrefectAwayError(f"{run.id} is asked for, but Prefect does not answer ({error}). It starts when Prefect is back.") from error
    return journal.scheduled(timeline, run, flow_run)


def wake(client: SyncPrefectClient, run: Run) -> None:
    """Let a run that sleeps at its gate look again; harmless when it is awake or there is nothing new."""
    if not run.flow_run:
        return
    try:
        found = client.read_flow_run(UUID(run.flow_run))
        if found.state is not None and not found.state.is_final() and not found.state.is_scheduled():
            client.set_flow_run_state(found.id, Scheduled(name="Resuming"), force=True)
    except (httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound) as error:
        raise PrefectAwayError(
            f"It is on the timeline, but Prefect does not answer ({error}); the worker wakes {run.id} when it is back."
        ) from error
