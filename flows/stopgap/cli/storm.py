"""`stopgap storm`: whether too many incidents hold alerts back from starting runbooks, and how to end that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from stopgap.cli import asking, examples
from stopgap.clock import format_time
from stopgap.problems import Exit
from stopgap.timeline import open as timelines

if TYPE_CHECKING:
    from stopgap.timeline.store import PostgresTimeline


@click.group()
def command() -> None:
    """Say whether alerts start runbooks, and let them again after a storm."""


@command.command(epilog=examples.lines(("stopgap storm status", "is there one, and what fires in it"), ("stopgap storm status --json", "")))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(*, as_json: bool) -> int:
    """Say whether there is a storm, since when, and list the alerts that are held back in it. Exit codes: 0 there is none, 1 there is one."""
    from stopgap.alerts import storm

    with timelines.timeline() as timeline:
        raging = storm.current(timeline)
        held = _held(timeline, raging.incident) if raging else []
    if as_json:
        since = {"incident": raging.incident, "since": format_time(raging.began_at)} if raging else {"incident": None, "since": None}
        click.echo(json.dumps({**since, "held_back": held}, indent=2, ensure_ascii=False))
    elif raging:
        click.echo(f"There is a storm since {format_time(raging.began_at)}: {raging.incident}. Alerts start nothing by themselves.")
        for text in held:
            click.echo(f"  {text}")
        click.echo("When it is over:  stopgap storm release")
    else:
        click.echo("There is no storm: alerts start runbooks.")
    return Exit.FAILED if raging else Exit.DONE


@command.command(epilog=examples.lines(("stopgap storm release --reason 'the network is back'", "alerts start runbooks again")))
@click.option("--reason", default="", help="Why; it stands on the timeline.")
@click.option(
    "--as", "person", metavar="PERSON", help="Who does it (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
)
def release(*, reason: str, person: str | None) -> int:
    """Let alerts start runbooks again. What fired meanwhile is not started: it is listed, for you to start what is still needed."""
    from stopgap.alerts import storm

    with timelines.timeline() as timeline:
        raging = storm.current(timeline)
        if raging is None:
            click.echo("There is no storm.")
            return Exit.DONE
        click.echo(storm.release(timeline, raging, person=asking.me(person), reason=reason).text)
        for text in _held(timeline, raging.incident):
            click.echo(f"  not started: {text}")
    return Exit.DONE


def _held(timeline: PostgresTimeline, incident: str) -> list[str]:
    """Return what the storm's incident says of the alerts in it that still fire."""
    firing = {episode.name for episode in timeline.intake.episodes_of(incident) if episode.is_open}
    entries = timeline.of_chain(incident)
    return [entry.text for entry in entries if entry.kind == "alert.opened" and (entry.data["source"], entry.data["alert"]) in firing]
