"""`stopgap run`: start a runbook and follow it."""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING, Any

import click

from stopgap.cli import asking
from stopgap.incidents import fold
from stopgap.incidents.model import Mode
from stopgap.incidents.open import open_incident, request_run
from stopgap.plan import parameters
from stopgap.problems import Exit, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.incidents.model import IncidentId, Run
    from stopgap.runbook.model import Runbook
    from stopgap.timeline.entry import Timeline


@click.command()
@click.argument("runbook")
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter; repeat for more.")
@click.option("--dry-run", is_flag=True, help="Plan every branch, change nothing, ask nobody.")
@click.option("--incident", metavar="INC", help="Run on this incident; otherwise a new one is opened.")
@click.option(
    "--as", "person", metavar="PERSON", help="Who starts it (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
)
@click.option("--no-follow", is_flag=True, help="Start it and return at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's id, incident and flow run as JSON and return at once.")
def command(  # noqa: PLR0913  click hands over one argument an option
    *, runbook: str, given: tuple[str, ...], dry_run: bool, incident: str | None, person: str | None, no_follow: bool, as_json: bool
) -> int:
    """Start RUNBOOK (its name, as in `stopgap lint`) and show its timeline until it ends.

    Needs a running `stopgap up`. Ctrl-C stops following, not the run; see it again with `stopgap timeline follow`.

    Exit codes: 0 done, 1 failed or aborted, 4 rejected or expired at a gate.
    """
    found = asking.runbook(runbook)
    if found.archived:
        instead = f" Use {found.superseded_by} instead." if found.superseded_by else ""
        raise UsageError(f"Runbook {found.name} is archived and never runs.{instead}")
    secrets = [name for name, each in found.parameters.items() if each.secret]
    if secrets:
        raise UsageError(f"Runbook {found.name} has secret parameters ({', '.join(secrets)}); start it from its form in the Prefect UI.")
    values = parameters.check(found, parameters.read(found, given))
    shown = "json" if as_json else "nothing" if no_follow else "everything"
    return begin(found, values, mode=Mode.DRY if dry_run else Mode.LIVE, incident=incident, person=asking.me(person), shown=shown)


def begin(  # noqa: PLR0913  each is a part of what was asked for, all by keyword
    found: Runbook,
    values: Mapping[str, Any],
    *,
    mode: Mode,
    person: str,
    shown: str,
    incident: str | None = None,
    given: Mapping[str, str] | None = None,
    scenario: str = "",
) -> int:
    """Ask for a run, hand it to Prefect, and follow it to its end unless `shown` is "nothing" or "json"."""
    from stopgap.engine import server
    from stopgap.timeline import open as timelines

    server.use_current()
    with timelines.timeline() as timeline:
        key = uuid.uuid4().hex
        on = fold.find_incident(timeline, incident).id if incident else _open(timeline, found, mode=mode, person=person, key=key)
        run = request_run(
            timeline,
            incident=on,
            runbook=found,
            parameters=values,
            mode=mode,
            starter=person,
            key=key,
            given=given,
            scenario=scenario,
        )
        flow_run = _hand_over(timeline, run)
        link = f"{os.environ.get('PREFECT_UI_URL', '')}/runs/flow-run/{flow_run}"
        if shown == "json":
            click.echo(json.dumps({"run": run.id, "incident": run.incident, "flow_run": flow_run, "link": link}))
            return Exit.DONE
        click.echo(f"{run.id}  {link}")
        return Exit.DONE if shown == "nothing" else asking.follow(timeline, run.incident, run.id)


def _open(timeline: Timeline, found: Runbook, *, mode: Mode, person: str, key: str) -> IncidentId:
    is_drill = mode is not Mode.LIVE
    return open_incident(timeline, title=found.title, severity=found.severity, actor=person, key=key, drill=is_drill)


def _hand_over(timeline: Timeline, run: Run) -> str:
    from prefect.client.orchestration import get_client

    from stopgap.engine import start

    with get_client(sync_client=True) as client:
        return start.schedule(timeline, client, run)
