"""Hands an asked-for run to Prefect, and wakes one that sleeps at its gate. Both may be repeated: neither happens twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.engine import deploy, journal
from stopgap.engine.api import NotFoundError
from stopgap.engine.form import RUN
from stopgap.engine.stage import LOCKED, WAITING
from stopgap.incidents.model import Mode
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from uuid import UUID

    from stopgap.engine.api import Api
    from stopgap.incidents.model import Run
    from stopgap.timeline.entry import Timeline

_IN_PREFECT = "prefect/"


class NotDeployedError(StopgapError):
    """Prefect has no deployment of this runbook. Register it first:  stopgap deploy"""


def key_in_prefect(flow_run: UUID) -> str:
    """Return the key of a run that somebody starts in Prefect's UI: that flow run is there before the run is asked for."""
    return f"{_IN_PREFECT}{flow_run}"


def schedule(timeline: Timeline, api: Api, run: Run) -> str:
    """Create the flow run of a run, once, and return its id; a repeat gets the first one. A run started in Prefect's UI has its own.

    Raises PrefectAwayError, and NotDeployedError for a runbook that Prefect does not know.
    """
    if run.key.startswith(_IN_PREFECT):
        return journal.scheduled(timeline, run, run.key.removeprefix(_IN_PREFECT))
    # A run id alone may come again, after a new database or beside another stopgap.
    return journal.scheduled(timeline, run, _create(api, run, f"{run.id}/{run.key}"))


def schedule_again(timeline: Timeline, api: Api, run: Run) -> str:
    """Create another flow run for a run whose flow run Prefect no longer has, once for each that it lost; raises as `schedule` does."""
    return journal.scheduled_again(timeline, run, _create(api, run, f"{run.id}/{run.key}/{run.flow_run}"))


def _create(api: Api, run: Run, key: str) -> str:
    try:
        deployment = api.deployment(run.runbook, deploy.NAME)
    except NotFoundError as error:
        raise NotDeployedError(f"Prefect has no deployment of {run.runbook}. Register it first:  stopgap deploy") from error
    # Only the run's id travels: Prefect renders templates in parameters, and these may come from an alert.
    body = {
        "parameters": {RUN: run.id},
        "enforce_parameter_schema": False,
        "name": f"{run.incident} {f'undo of {run.undoes}' if run.undoes else run.runbook}",
        "idempotency_key": key,
        "tags": [run.incident, *([] if run.mode is Mode.LIVE else [str(run.mode)])],
        "state": {"type": "SCHEDULED"},
    }
    return api.create_flow_run(deployment, body)


def wake(api: Api, run: Run) -> None:
    """Let a run that sleeps look again; harmless when it is awake or there is nothing new."""
    found = api.flow_run(run.flow_run) if run.flow_run else None
    if found and (found.state == "PAUSED" or found.state_name in {LOCKED, WAITING}):
        api.reschedule(found.id, name="Resuming")


def wake_if_ended(api: Api, run: Run) -> None:
    """Let a run that somebody asked to end look again; any other sleeps on."""
    if run.aborted_by:
        wake(api, run)
