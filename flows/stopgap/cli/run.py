"""`stopgap run`: start a runbook and follow it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from stopgap import clock
from stopgap.cli import asking, examples, starting
from stopgap.incidents.model import Mode
from stopgap.plan import parameters
from stopgap.problems import Exit, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

EXAMPLES = examples.lines(
    ("stopgap run checkout-latency -p replicas=9", "start it and follow it"),
    ("stopgap run checkout-latency --dry-run", "read everything, change nothing"),
    ("stopgap run checkout-latency --incident INC-12", "on an incident that is open"),
)


@click.command(epilog=EXAMPLES)
@click.argument("runbook")
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter; repeat for more.")
@click.option("--dry-run", is_flag=True, help="Plan every branch, change nothing, ask nobody.")
@click.option("--incident", metavar="INC", help="Run on this incident; otherwise a new one is opened.")
@click.option(
    "--as", "person", metavar="PERSON", help="Who starts it (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
)
@click.option(
    "--expires",
    default="30m",
    show_default=True,
    metavar="DURATION",
    help="When nothing could begin it within this, it is not begun any more.",
)
@click.option("--no-follow", is_flag=True, help="Start it and return at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's id, incident and flow run as JSON and return at once.")
def command(  # noqa: PLR0913  click hands over one argument an option
    *,
    runbook: str,
    given: tuple[str, ...],
    dry_run: bool,
    incident: str | None,
    person: str | None,
    expires: str,
    no_follow: bool,
    as_json: bool,
) -> int:
    """Start RUNBOOK (its name, as in `stopgap lint`) and show its timeline until it ends.

    Needs a running `stopgap up`. A run that Prefect cannot take just now begins later, once. Ctrl-C stops following, not the run; see it again with `stopgap timeline follow`.

    Exit codes: 0 done, 1 failed or aborted, 4 rejected or expired at a gate.
    """
    found = asking.runbook(runbook)
    if found.archived:
        instead = f" Use {found.superseded_by} instead." if found.superseded_by else ""
        raise UsageError(f"Runbook {found.name} is archived and never runs.{instead}")
    starting.refuse_secrets(found)
    patience = _duration(expires)
    values = parameters.check(found, parameters.read(found, given))
    asking.policy(found)  # a run without one could not begin: better to hear of it now
    asked = starting.Asked(
        runbook=found,
        parameters=values,
        mode=Mode.DRY if dry_run else Mode.LIVE,
        person=asking.me(person),
        incident=incident,
        expires=patience,
    )
    with starting.asked_for(asked) as (timeline, run):
        if as_json:
            shown = {"run": run.id, "incident": run.incident, "flow_run": run.flow_run, "link": starting.link(run)}
            click.echo(json.dumps(shown))
            return Exit.DONE
        starting.announce(run)
        return Exit.DONE if no_follow else asking.follow(timeline, run.incident, run.id)


def _duration(text: str) -> timedelta:
    try:
        return clock.parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--expires: {error}.") from error
