"""Asking for a run from a terminal and handing it to Prefect: what `run`, `drill` and `demo` share."""

from __future__ import annotations

import contextlib
import os
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from stopgap import clock
from stopgap.incidents import fold
from stopgap.incidents.model import LATE, Mode
from stopgap.incidents.open import open_incident, request_run
from stopgap.problems import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from stopgap.incidents.model import IncidentId, Run
    from stopgap.runbook.model import Runbook
    from stopgap.timeline.entry import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody asks for. `incident` names an open one; without it a new one is opened."""

    runbook: Runbook
    parameters: Mapping[str, Any]
    mode: Mode
    person: str
    incident: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    scenario: str = ""
    expires: timedelta = LATE


@contextlib.contextmanager
def asked_for(asked: Asked) -> Iterator[tuple[Timeline, Run]]:
    """Put the request on the timeline, and hand the run to the running Prefect."""
    from stopgap.engine import server
    from stopgap.timeline import open as timelines

    server.use_current()
    with timelines.timeline() as timeline:
        key = uuid.uuid4().hex
        incident = fold.find_incident(timeline, asked.incident).id if asked.incident else _open(timeline, asked, key)
        run = request_run(
            timeline,
            incident=incident,
            runbook=asked.runbook,
            parameters=asked.parameters,
            mode=asked.mode,
            starter=asked.person,
            key=key,
            given=asked.given,
            scenario=asked.scenario,
            expires=asked.expires,
        )
        run = hand_over(timeline, run)
        yield timeline, run


def refuse_secrets(runbook: Runbook) -> None:
    """Refuse a runbook that needs a secret: what is typed here would stand in the shell's history, and the timeline never has it."""
    secrets = [name for name, each in runbook.parameters.items() if each.secret]
    if secrets:
        raise UsageError(f"Runbook {runbook.name} has secret parameters ({', '.join(secrets)}); start it from its form in the Prefect UI.")


def link(run: Run) -> str:
    """Return where the run is seen in the Prefect UI; empty when Prefect does not have it yet."""
    return f"{_ui()}/runs/flow-run/{run.flow_run}" if run.flow_run else ""


def login_link(run: Run) -> str:
    """Return the same for somebody who has not logged in: without it, Prefect's UI says no more than that authentication failed."""
    return f"{_ui()}/login?redirect=/runs/flow-run/{run.flow_run}"


def _ui() -> str:
    return os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL", "").removesuffix("/api")


def has_link() -> bool:
    """Whether it is known where Prefect's UI is."""
    return bool(_ui())


def announce(run: Run) -> None:
    """Print the run and where it is seen."""
    click.echo(f"{run.id}  {link(run)}".rstrip())


def _open(timeline: Timeline, asked: Asked, key: str) -> IncidentId:
    is_drill = asked.mode is not Mode.LIVE
    found = asked.runbook
    return open_incident(timeline, title=found.title, severity=found.severity, actor=asked.person, key=key, drill=is_drill)


def hand_over(timeline: Timeline, run: Run) -> Run:
    """Give a run that is asked for to Prefect, or say that a worker does so later. It is no error: who asks again starts another run."""
    from stopgap.engine import api, start

    try:
        start.schedule(timeline, api.Api.of_environment(), run)
    except (api.PrefectAwayError, start.NotDeployedError) as error:
        click.echo(
            f"{error}\n{run.id} is asked for, and begins as soon as it can within {clock.format_duration(run.expires)}. "
            f"Asking again would start another run. To end this one:  stopgap abort {run.id}",
            err=True,
        )
    return fold.find_run(timeline, run.id)
