"""Entries on a terminal as a table, in a pipe as plain lines."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from stopgap.cli.asking import COLOURS
from stopgap.clock import format_time
from stopgap.report.export import one_line
from stopgap.timeline import chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopgap.timeline.entry import Entry

    Recent = Sequence[tuple[Entry, Entry]]


def entries(found: Sequence[Entry], *, title: str) -> None:
    """Print entries: a table for a person, one line each for a pipe."""
    if not sys.stdout.isatty():
        for entry in found:
            click.echo(line(entry))
        return
    from rich.markup import escape
    from rich.table import Table

    from stopgap.cli.paper import Console

    table = Table(title=escape(f"{title}, {found[0].at:%d %B %Y} (UTC)"), title_justify="left", box=None, pad_edge=False)
    for name in ("time", "step", "what happened", "who", "kind"):
        table.add_column(name, no_wrap=name == "time")
    for entry in found:
        cells = (f"{entry.at:%H:%M:%S}", *(escape(one_line(cell)) for cell in (entry.step, entry.text, entry.actor)), entry.kind)
        table.add_row(*cells, style=COLOURS.get(entry.kind))
    Console().print(table)


def line(entry: Entry) -> str:
    """Return an entry as a line of tab-separated fields: time, chain#number, kind, step, who, what happened."""
    cells = (format_time(entry.at), f"{entry.chain}#{entry.number}", entry.kind, entry.step or "-", entry.actor, entry.text)
    return "\t".join(map(one_line, cells))


def one(entry: Entry, *, as_json: bool) -> None:
    """Print an entry by itself, at once, as it comes."""
    if as_json:
        click.echo(json.dumps(chain.to_json(entry), ensure_ascii=False))
    elif sys.stdout.isatty():
        step = f" {one_line(entry.step)}:" if entry.step else ""
        text = f"{entry.at:%H:%M:%S}{step} {one_line(entry.text)} ({one_line(entry.actor)})"
        click.secho(text, fg=_plain(COLOURS.get(entry.kind, "")), bold=COLOURS.get(entry.kind) == "bold")
    else:
        click.echo(line(entry))
    sys.stdout.flush()


def incidents(recent: Recent) -> None:
    """Print the newest incidents with where they stand."""
    if not recent:
        click.echo("The timeline has no incidents yet. Start one:  stopgap run RUNBOOK")
    elif sys.stdout.isatty():
        from rich.markup import escape
        from rich.table import Table

        from stopgap.cli.paper import Console

        table = Table(box=None, pad_edge=False)
        for name in ("incident", "opened (UTC)", "entries", "it began with", "and last"):
            table.add_column(name)
        for first, last in recent:
            table.add_row(*(escape(one_line(cell)) for cell in _cells(first, last)))
        Console().print(table)
    else:
        for first, last in recent:
            click.echo("\t".join(map(one_line, _cells(first, last))))


def incidents_as_json(recent: Recent) -> None:
    """Print the newest incidents as a JSON list."""
    found = [
        {"chain": first.chain, "entries": last.number, "first": chain.to_json(first), "last": chain.to_json(last)} for first, last in recent
    ]
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _cells(first: Entry, last: Entry) -> tuple[str, ...]:
    return (first.chain, f"{first.at:%Y-%m-%d %H:%M:%S}", str(last.number), first.text, last.text)


def _plain(colour: str) -> str | None:
    return colour if colour in {"green", "yellow", "red", "cyan"} else None
