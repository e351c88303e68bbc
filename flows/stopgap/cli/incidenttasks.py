"""`stopgap incident task add | done | list`, and `incident attach | file`: what is to be done, and what is kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stopgap.cli import asking, examples
from stopgap.clock import SystemClock, format_time, parse_duration
from stopgap.incidents import files, fold, tasks
from stopgap.problems import UsageError
from stopgap.report import standing
from stopgap.timeline import open as timelines

if TYPE_CHECKING:
    from datetime import datetime

    from stopgap.incidents.tasks import Task

_AS = "Who does it (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
as_person = click.option("--as", "by", metavar="PERSON", help=_AS)


@click.group(epilog=examples.lines(("stopgap incident task add INC-12 'ask the bank'", "T1"), ("stopgap incident task done INC-12 T1", "")))
def task() -> None:
    """Write down what is to be done in an incident, by whom and until when."""


@task.command(epilog=examples.lines(("stopgap incident task add INC-12 'ask the bank' --owner ben --due 30m", "ben is told")))
@click.argument("incident")
@click.argument("text")
@click.option("--owner", default="", metavar="PERSON", help="Who does it (an id of policy.yaml).")
@click.option("--due", metavar="DURATION", help="In how long it is due, like 30m.")
@as_person
def add(*, incident: str, text: str, owner: str, due: str | None, by: str | None) -> None:
    """Add TEXT to what is to be done in INCIDENT."""
    if owner and owner not in (people := asking.policy().people):
        raise UsageError(f'policy.yaml knows nobody called "{owner}". It knows {", ".join(people)}.')
    with timelines.timeline() as timeline:
        found = fold.find_incident(timeline, incident)
        click.echo(tasks.add(timeline, found, person=asking.me(by), text=text, owner=owner, due=_moment(due)).text)


@task.command(epilog=examples.lines(("stopgap incident task done INC-12 T1", "")))
@click.argument("incident")
@click.argument("name", metavar="TASK")
@as_person
def done(*, incident: str, name: str, by: str | None) -> None:
    """Say that TASK of INCIDENT is done."""
    with timelines.timeline() as timeline:
        found = fold.find_incident(timeline, incident)
        click.echo(tasks.finish(timeline, found, person=asking.me(by), task=name).text)


@task.command(
    "list", epilog=examples.lines(("stopgap incident task list INC-12", "what is open"), ("stopgap incident task list INC-12 --all", ""))
)
@click.argument("incident")
@click.option("--all", "everything", is_flag=True, help="Also those that are done.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_(*, incident: str, everything: bool, as_json: bool) -> None:
    """List what is to be done in INCIDENT."""
    with timelines.timeline() as timeline:
        found = fold.find_incident(timeline, incident)
        rows = [_row(each) for each in tasks.fold(timeline.of_chain(found.id)) if everything or each.done_at is None]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        state = f"done by {row['done_by']}" if row["done_at"] else f"due {row['due']}" if row["due"] else "open"
        click.echo("\t".join((row["task"], row["owner"] or "nobody yet", state, row["text"])))
    if not rows:
        click.echo(f"Nothing is to be done in {found.id}.")


@click.command(epilog=examples.lines(("stopgap incident attach INC-12 graph.png", "at most 10 MB; its SHA-256 stands on the timeline")))
@click.argument("incident")
@click.argument("file", type=click.Path(path_type=Path))
@as_person
def attach(*, incident: str, file: Path, by: str | None) -> None:
    """Keep FILE with INCIDENT, in stopgap's database."""
    try:
        with file.open("rb") as opened:
            content = opened.read(files.MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error
    if len(content) > files.MOST_BYTES:
        raise files.TooBigError(
            f"{file} has more than {files.MOST_BYTES:,} bytes, which is the most that is kept. Attach a part of it, or note where it is."
        )
    with timelines.timeline() as timeline:
        found = fold.find_incident(timeline, incident)
        click.echo(files.attach(timeline, found, person=asking.me(by), name=file.name, content=content).text)


@click.command("file", epilog=examples.lines(("stopgap incident file INC-12 graph.png --out /tmp/graph.png", "as it was attached")))
@click.argument("incident")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it; standard output when left out.")
def file_(*, incident: str, name: str, out: Path | None) -> None:
    """Write the file NAME that is kept with INCIDENT; the newest, when there are several of that name."""
    with timelines.timeline() as timeline:
        found = fold.find_incident(timeline, incident)
        kept = standing.attachments(timeline.of_chain(found.id))
        wanted = next((each for each in reversed(kept) if name in {each.name, each.sha256}), None)
        content = timeline.files.read(wanted.sha256) if wanted else None
    if content is None:
        known = ", ".join(dict.fromkeys(each.name for each in kept)) or "none"
        raise UsageError(f'{found.id} has no file "{name}"; it has {known}.')
    if out is None:
        sys.stdout.buffer.write(content)
        return
    try:
        out.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.") from error


def _row(found: Task) -> dict[str, Any]:
    times = {name: format_time(at) if (at := getattr(found, name)) else None for name in ("due", "added_at", "done_at")}
    return {
        "task": found.id,
        "text": found.text,
        "owner": found.owner,
        "added_by": found.added_by,
        "done_by": found.done_by or None,
        **times,
    }


def _moment(duration: str | None) -> datetime | None:
    if duration is None:
        return None
    try:
        return SystemClock().now() + parse_duration(duration)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), param_hint="--due") from error


VERBS = (task, attach, file_)
