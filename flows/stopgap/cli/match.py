"""`stopgap match`: which runbook an alert would start, and why not the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stopgap.cli import asking, examples
from stopgap.problems import Exit, UsageError

if TYPE_CHECKING:
    from stopgap.alerts.match import Matched
    from stopgap.alerts.model import Alert

EXAMPLES = examples.lines(
    ("stopgap match alert.json", "a delivery of alertmanager, as it was posted"),
    ("stopgap match alert.json --source grafana", "of another source of policy.yaml"),
)


@click.command(epilog=EXAMPLES)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--source", "name", default="alertmanager", show_default=True, help="The source of policy.yaml that would post it.")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME: VALUE", help="A header of the delivery, where its kind needs one.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, an entry for each alert.")
def command(*, file: Path, name: str, headers: tuple[str, ...], as_json: bool) -> int:
    """Say for each alert of the delivery in FILE which runbook it would start, with which parameters, and why not the others.

    Reads files alone: nothing is sent, started or written. Exit codes: 0 every alert would start one, 1 not every one, 2 FILE cannot be read.
    """
    from stopgap.alerts import match
    from stopgap.alerts.model import Delivery, UnreadableError
    from stopgap.alerts.sources import READERS
    from stopgap.policy.alerting import AlertRules

    sources = (asking.policy().alerts or AlertRules()).sources
    if name not in sources:
        raise UsageError(f'policy.yaml names no source of alerts "{name}"; it names {", ".join(sources) or "none"}.')
    given = {key.strip().lower(): value.strip() for key, _, value in (header.partition(":") for header in headers)}
    try:
        reading = READERS[sources[name].kind].read(sources[name], Delivery(headers=given, body=_body(file)))
    except UnreadableError as error:
        raise UsageError(f"{file} is no delivery of {name}: {error}") from error
    runbooks = asking.runbooks_by_name()
    found = [(alert, match.match(runbooks, alert, body=reading.body, delivery=reading.id)) for alert in reading.alerts]
    if as_json:
        click.echo(json.dumps([_row(alert, matched) for alert, matched in found], indent=2, ensure_ascii=False))
    else:
        for alert, matched in found:
            _explain(alert, matched)
    return Exit.DONE if all(matched.parameters is not None for _, matched in found) else Exit.FAILED


def _body(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error


def _row(alert: Alert, matched: Matched) -> dict[str, Any]:
    best = matched.best
    return {
        "alert": alert.to_json(),
        "runbook": best.runbook.name if best else None,
        "mode": best.trigger.mode if best else None,
        "parameters": matched.parameters,
        "why_not": matched.why_not,
        "others": [{"runbook": look.runbook.name, "why_not": look.why_not} for look in matched.looks if look is not best],
    }


def _explain(alert: Alert, matched: Matched) -> None:
    best = matched.best
    click.echo(f"{alert.title} ({alert.status})")
    if best and matched.parameters is not None:
        verb = "would be proposed" if best.trigger.mode == "propose" else "would start"
        given = ", ".join(f"{name}={value}" for name, value in matched.parameters.items())
        click.echo(f"  {best.runbook.name} {verb}{f' with {given}' if given else ''}")
    else:
        click.echo(f"  nothing would start: {matched.why_not}")
    for look in matched.looks:
        if look is not best:
            click.echo(f"  {look.runbook.name}: {look.why_not or 'it fits too, but is less specific'}")
