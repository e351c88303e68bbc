"""`stopgap incident declare | list | show | ack | note | severity | stage | resolve`: the incident as a whole."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from stopgap.cli import asking, examples, hiding
from stopgap.clock import SystemClock, format_duration, format_time
from stopgap.incidents import changes, fold, measures, paging, tasks, updates
from stopgap.incidents.model import Stage
from stopgap.incidents.open import open_incident
from stopgap.policy.model import Severity
from stopgap.report import standing
from stopgap.report.export import one_line
from stopgap.timeline import open as timelines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from stopgap.incidents.model import Incident
    from stopgap.timeline.entry import Entry, Timeline
    from stopgap.timeline.store import PostgresTimeline

_AS = "Who does it (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
as_person = click.option("--as", "by", metavar="PERSON", help=_AS)
because = click.option("--reason", default="", help="Why; it stands on the timeline.")
severities = click.Choice([str(each) for each in Severity])


@click.command(epilog=examples.lines(("stopgap incident declare 'Payments are slow' --severity SEV2", "open one by hand")))
@click.argument("title")
@click.option("--severity", type=severities, default="SEV3", show_default=True, help="How bad it is.")
@click.option("--restricted", is_flag=True, help="Only the roles that policy names may read of it and are told of it.")
@as_person
def declare(*, title: str, severity: str, restricted: bool, by: str | None) -> None:
    """Open an incident called TITLE."""
    key = f"declared/{uuid.uuid4().hex}"
    with timelines.timeline() as timeline:
        opened = open_incident(timeline, title=title, severity=Severity(severity), actor=asking.me(by), key=key, restricted=restricted)
    click.echo(f"{opened} is open. Look after it:  stopgap incident ack {opened}    Start a runbook:  stopgap run NAME --incident {opened}")


@click.command(
    "list", epilog=examples.lines(("stopgap incident list", "those that are not over"), ("stopgap incident list --all", "all of them"))
)
@click.option("--all", "everything", is_flag=True, help="Also those that are resolved.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_(*, everything: bool, as_json: bool) -> None:
    """List incidents, the newest first: how bad, how far, what fires, who looks after it."""
    with timelines.timeline() as timeline:
        names = [name for name in timeline.chains(limit=1000) if name.startswith("INC-")]
        found = [incident for name in names if (incident := fold.incident(timeline.of_chain(name)))]
    shown = [each for each in found if everything or each.resolved_at is None]
    if any(each.restricted for each in shown) and not hiding.may_read():
        shown = [hiding.of_incident(each) for each in shown]
    if as_json:
        click.echo(json.dumps([_row(each) for each in shown], indent=2, ensure_ascii=False))
        return
    for each in shown:
        firing = f"{len(each.firing)} firing" if each.firing else "nothing fires"
        click.echo("\t".join((each.id, str(each.severity), str(each.stage), firing, each.acknowledged_by or "nobody", each.title)))
    if not shown:
        click.echo("No incident is open.")


@click.command(epilog=examples.lines(("stopgap incident show INC-12", "where it stands"), ("stopgap incident show INC-12 --json", "")))
@click.argument("incident")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(*, incident: str, as_json: bool) -> None:
    """Show where INCIDENT stands: severity, stage, times, alerts with how often they came, runs."""
    with timelines.timeline() as timeline:
        found = fold.find_incident(timeline, incident)
        entries = timeline.of_chain(found.id)
        row = {**_row(found), **_took(found), "alerts": _alerts(timeline, found), "runs": _runs(timeline, found), **_people(found, entries)}
    if as_json:
        click.echo(json.dumps(row, indent=2, ensure_ascii=False))
        return
    click.echo(f"{found.id}  {found.severity}  {found.stage}  {found.title}")
    click.echo(f"opened {format_time(found.opened_at)} by {found.opened_by}; {_acknowledged(found)}")
    took = [f"{name} {format_duration(timedelta(seconds=int(value)))}" for name, value in row["took_seconds"].items() if value is not None]
    if took:
        click.echo(f"it took {', '.join(took)}")
    for alert in row["alerts"]:
        click.echo(f"alert  {alert['alert']} ({alert['source']}): {alert['state']}, came {alert['deliveries']} times")
    for run in row["runs"]:
        click.echo(f"run    {run['run']} {run['runbook']}: {run['end'] or 'goes on'}")
    for line in _lines(row):
        click.echo(line)
    click.echo(f"What happened:  stopgap timeline show {found.id}")


@click.command(epilog=examples.lines(("stopgap incident ack INC-12 --as ada", "you look after it")))
@click.argument("incident")
@as_person
def ack(*, incident: str, by: str | None) -> None:
    """Take notice of INCIDENT: somebody looks after it now, and whom it woke is woken no more."""
    _change(incident, lambda timeline, found: changes.acknowledge(timeline, found, person=asking.me(by), policy=hiding.policy()))


@click.command(
    epilog=examples.lines(
        ("stopgap incident restrict INC-12 --reason 'somebody is in our network'", ""),
        ("stopgap incident restrict INC-12 --lift", "everybody may read of it again"),
    )
)
@click.argument("incident")
@click.option("--lift", is_flag=True, help="Let everybody read of it again.")
@because
@as_person
def restrict(*, incident: str, lift: bool, reason: str, by: str | None) -> None:
    """Let only the roles that policy.yaml names (incidents.restricted) read of INCIDENT on the pages and be told of it."""
    _change(incident, lambda timeline, found: changes.restrict(timeline, found, person=asking.me(by), restricted=not lift, reason=reason))


@click.command(epilog=examples.lines(("stopgap incident note INC-12 'the new release is out since 02:50'", "")))
@click.argument("incident")
@click.argument("text")
@as_person
def note(*, incident: str, text: str, by: str | None) -> None:
    """Write TEXT down on INCIDENT's timeline."""
    _change(incident, lambda timeline, found: changes.note(timeline, found, person=asking.me(by), text=text))


@click.command(epilog=examples.lines(("stopgap incident severity INC-12 SEV1 --reason 'all regions'", "")))
@click.argument("incident")
@click.argument("severity", type=severities)
@because
@as_person
def severity(*, incident: str, severity: str, reason: str, by: str | None) -> None:
    """Set the severity of INCIDENT; SEV1 is the worst."""
    _change(
        incident, lambda timeline, found: changes.grade(timeline, found, person=asking.me(by), severity=Severity(severity), reason=reason)
    )


@click.command(epilog=examples.lines(("stopgap incident stage INC-12 investigating", ""), ("stopgap incident stage INC-12 mitigated", "")))
@click.argument("incident")
@click.argument("stage", type=click.Choice(["investigating", "mitigating", "mitigated", "reviewed"]))
@because
@as_person
def stage(*, incident: str, stage: str, reason: str, by: str | None) -> None:
    """Say how far INCIDENT is. Acknowledged and resolved have verbs of their own."""
    _change(incident, lambda timeline, found: changes.move(timeline, found, person=asking.me(by), stage=Stage(stage), reason=reason))


@click.command(epilog=examples.lines(("stopgap incident resolve INC-12 --reason 'rolled back'", "it is over")))
@click.argument("incident")
@because
@click.option("--anyway", is_flag=True, help="Although an alert of it still fires.")
@as_person
def resolve(*, incident: str, reason: str, anyway: bool, by: str | None) -> None:
    """End INCIDENT. Refused while a run of it goes on, and while an alert of it fires unless you say --anyway."""
    _change(incident, lambda timeline, found: changes.resolve(timeline, found, person=asking.me(by), reason=reason, sure=anyway))


VERBS = (declare, list_, show, ack, restrict, note, severity, stage, resolve)


def _change(name: str, change: Callable[[Timeline, Incident], Entry]) -> None:
    with timelines.timeline() as timeline:
        click.echo(change(timeline, fold.find_incident(timeline, name)).text)


def _row(found: Incident) -> dict[str, Any]:
    times = {
        name: format_time(at) if (at := getattr(found, name)) else None
        for name in ("opened_at", "acknowledged_at", "mitigated_at", "resolved_at")
    }
    firing = [{"source": source, "alert": alert} for source, alert in sorted(found.firing)]
    texts: dict[str, Any] = {
        "incident": found.id,
        "title": found.title,
        "severity": str(found.severity),
        "stage": str(found.stage),
        "restricted": found.restricted,
    }
    return {**texts, **times, "opened_by": found.opened_by, "acknowledged_by": found.acknowledged_by or None, "firing": firing}


def _people(found: Incident, entries: Sequence[Entry]) -> dict[str, Any]:
    due = updates.due(found, updates.sent(entries), hiding.policy().incidents, now=SystemClock().now())
    return {
        "next_update_due": format_time(due.at) if due else None,
        "open_tasks": [{"task": each.id, "owner": each.owner, "text": each.text} for each in tasks.fold(entries) if each.done_at is None],
        "paged": [
            {"page": each.id, "role": each.role, "people": list(each.people), "acknowledged_by": each.acknowledged_by or None}
            for each in paging.fold(entries)
        ],
        "files": [each.name for each in standing.attachments(entries)],
    }


def _lines(row: Mapping[str, Any]) -> Iterator[str]:
    for page in row["paged"]:
        state = f"acknowledged by {page['acknowledged_by']}" if page["acknowledged_by"] else "nobody has acknowledged"
        yield f"page   {page['role']} ({', '.join(page['people']) or 'nobody yet'}): {state}"
    for task in row["open_tasks"]:
        yield f"task   {task['task']} ({task['owner'] or 'nobody yet'}): {one_line(task['text'])}"
    for name in row["files"]:
        yield f"file   {one_line(name)}"
    if row["next_update_due"]:
        yield f"the next update is due at {row['next_update_due']}"


def _took(found: Incident) -> dict[str, Any]:
    took = measures.of(found)
    return {
        "took_seconds": {
            f"to {name}": each.total_seconds() if (each := getattr(took, name)) is not None else None
            for name in ("detect", "acknowledge", "mitigate", "resolve")
        }
    }


def _alerts(timeline: PostgresTimeline, found: Incident) -> list[dict[str, Any]]:
    return [
        {"source": each.source, "alert": each.alert, "state": "firing" if each.is_open else "over", "deliveries": each.deliveries}
        for each in timeline.intake.episodes_of(found.id)
    ]


def _runs(timeline: PostgresTimeline, found: Incident) -> list[dict[str, Any]]:
    names = dict.fromkeys(entry.run for entry in timeline.of_chain(found.id) if entry.kind == "run.requested")
    runs = [fold.find_run(timeline, name) for name in names]
    return [{"run": run.id, "runbook": run.runbook, "end": str(run.end) if run.end else None} for run in runs]


def _acknowledged(found: Incident) -> str:
    if found.acknowledged_at:
        return f"{found.acknowledged_by} looks after it since {format_time(found.acknowledged_at)}"
    age = format_duration(SystemClock().now().replace(microsecond=0) - found.opened_at.replace(microsecond=0))
    return f"nobody has looked after it for {age}:  stopgap incident ack {found.id}"
