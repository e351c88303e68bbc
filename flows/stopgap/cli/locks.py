"""`stopgap locks`: which run works on which target, who waits for it, and how to take it away from a run that is lost."""

from __future__ import annotations

import difflib
import json
import sys
from typing import TYPE_CHECKING

import click

from stopgap.cli import asking, examples
from stopgap.clock import format_time
from stopgap.incidents import fold
from stopgap.problems import Exit, UsageError
from stopgap.timeline import open as timelines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopgap.incidents.model import Run
    from stopgap.timeline.entry import Timeline
    from stopgap.timeline.locks import Lock


class NotLockedError(UsageError):
    """No run holds this target."""


@click.group(
    "locks",
    invoke_without_command=True,
    epilog=examples.lines(("stopgap locks", "who holds what"), ("stopgap locks --json", "the same, for a program")),
)
@click.option("--json", "as_json", is_flag=True, help="Print the locks as JSON.")
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """List which run holds which target since when, and which runs wait for it.

    A lock ends with its run; dry runs and drills take none.
    """
    if context.invoked_subcommand is None:
        with timelines.timeline() as timeline:
            _show(timeline, timeline.locks.of_all(), as_json=as_json)


@command.command(
    "break", epilog=examples.lines(("stopgap locks break kubernetes/prod/shop/deployment/checkout --reason 'its machine is gone'", ""))
)
@click.argument("target")
@click.option("--reason", required=True, help="Why; it stands on the timeline of the incident whose run held the target.")
@click.option(
    "--as", "person", metavar="PERSON", help="Who breaks it (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
)
def break_lock(*, target: str, reason: str, person: str | None) -> int:
    """Take TARGET away from the run that holds it, when nothing works on it any more.

    The run is not ended: what it is sending at this moment arrives, and its next step on TARGET takes the lock again or waits for it.
    To end the run, and all its locks with it:  stopgap abort RUN
    """
    with timelines.timeline() as timeline:
        held = _held(timeline.locks.of_all(), target)
        run = fold.run(timeline.of_run(held.run))
        if run:
            text = _journal(timeline, run, held, who=asking.me(person), reason=reason)
        else:
            text = f"Broke a lock on {target} of {held.run}, which is on no timeline"
        timeline.locks.release(held.run, [target])
        click.echo(text)
    return Exit.DONE


def _held(found: Sequence[Lock], target: str) -> Lock:
    held = {lock.target: lock for lock in found if lock.is_held}
    if target in held:
        return held[target]
    near = difflib.get_close_matches(target, held, n=1)
    hint = f'Did you mean "{near[0]}"?' if near else f"Held now: {', '.join(held) or 'nothing'}."
    raise NotLockedError(f'No run holds "{target}". {hint}')


def _journal(timeline: Timeline, run: Run, held: Lock, *, who: str, reason: str) -> str:
    draft = run.draft(
        kind="lock.broken",
        actor=who,
        text=f"{who} took {held.target} away from {run.id}: {reason}",
        data={"targets": [held.target], "reason": reason},
    )
    return timeline.append(draft).entry.text


def _show(timeline: Timeline, found: Sequence[Lock], *, as_json: bool) -> None:
    runbooks = {lock.run: run.runbook if (run := fold.run(timeline.of_run(lock.run))) else "" for lock in found}
    if as_json:
        rows = [
            {"target": lock.target, "run": lock.run, "runbook": runbooks[lock.run], "since": format_time(lock.since), "held": lock.is_held}
            for lock in found
        ]
        click.echo(json.dumps(rows, indent=2))
    elif not found:
        click.echo("No run holds a target.")
    else:
        _table([(lock.target, "held by" if lock.is_held else "waits", lock.run, runbooks[lock.run], _moment(lock)) for lock in found])


def _moment(lock: Lock) -> str:
    return f"{lock.since:%Y-%m-%d %H:%M:%S}"


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.markup import escape
    from rich.table import Table

    from stopgap.cli import paper

    table = Table(box=None, pad_edge=False)
    for name in ("target", "", "run", "runbook", "since (UTC)"):
        table.add_column(name)
    for row in rows:
        table.add_row(*map(escape, row))
    paper.Console().print(table)
