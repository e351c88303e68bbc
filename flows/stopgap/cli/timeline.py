"""`stopgap timeline`: show, follow, export, verify, backup, restore."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from stopgap.cli import examples, hiding
from stopgap.problems import Exit, UsageError
from stopgap.report.export import Format

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from stopgap.timeline.entry import Entry
    from stopgap.timeline.store import PostgresTimeline
    from stopgap.timeline.verify import Verdict

_EXISTING = 10  # so many names a wrong one is answered with


@click.group()
def command() -> None:
    """Show the log of incidents, follow it, export it, verify that nobody changed it, save it and bring it back.

    WHAT is an incident (INC-12), a drill (DRILL-3) or a run (INC-12.1).
    """


@command.command(
    epilog=examples.lines(
        ("stopgap timeline show", "the newest incidents"),
        ("stopgap timeline show INC-12", "one incident"),
        ("stopgap timeline show INC-12.1 --json", "one run, for a program"),
    )
)
@click.argument("what", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the entries as a JSON list.")
def show(*, what: str | None, as_json: bool) -> None:
    """Show the entries of WHAT; without it, the newest incidents with their first and last entry."""
    from stopgap.cli import timelineview as view
    from stopgap.report import export
    from stopgap.timeline import open as opening

    with opening.timeline() as timeline:
        if what is None:
            recent = hiding.of_recent(timeline, timeline.recent())
            view.incidents_as_json(recent) if as_json else view.incidents(recent)
            return
        entries = _entries(timeline, what)
        click.echo(export.export(entries, "json"), nl=False) if as_json else view.entries(entries, title=what)


@command.command(
    epilog=examples.lines(
        ("stopgap timeline follow INC-12", "until ctrl-C"),
        ("stopgap timeline follow INC-12 --until-quiet 15m", "until nothing has come for so long"),
    )
)
@click.argument("what")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--until-quiet", metavar="DURATION", help="End when nothing has come for so long, like 90s or 15m; otherwise at ctrl-C.")
def follow(*, what: str, as_json: bool, until_quiet: str | None) -> None:
    """Show the entries of WHAT, and every new one as it comes."""
    from stopgap.cli import timelineview as view
    from stopgap.timeline import open as opening

    quiet = _duration(until_quiet) if until_quiet else None
    with opening.timeline() as timeline:
        first = _entries(timeline, what)[0]
        for entry in timeline.follow(first.chain, timeout=quiet):
            if what in (entry.chain, entry.run):
                view.one(entry, as_json=as_json)


@command.command(
    epilog=examples.lines(
        ("stopgap timeline export INC-12 -o review.md", "for the post-incident review"),
        ("stopgap timeline export INC-12 --format csv", "for a spreadsheet"),
    )
)
@click.argument("what")
@click.option("--format", "form", type=click.Choice(get_args(Format)), default="md", show_default=True, help="Markdown, JSON or CSV.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file instead of standard output.")
def export(*, what: str, form: Format, output: Path | None) -> None:
    """Write the entries of WHAT for a report, a spreadsheet or a program."""
    from stopgap.report import export
    from stopgap.timeline import open as opening

    with opening.timeline() as timeline:
        text = export.export(_entries(timeline, what), form)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}.") from error


@command.command(
    epilog=examples.lines(
        ("stopgap timeline verify", "every chain; keep its last line elsewhere"),
        ("stopgap timeline verify --since 14:3fa9...", "also that nothing was put back since then"),
    )
)
@click.option("--since", default="", metavar="END", help="Where the timeline ended when it was last verified; it must still hold that.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def verify(*, since: str, as_json: bool) -> int:
    """Check that no entry was changed, removed, inserted or cut off; name the first one of each chain that was.

    Ends with a line that says where the timeline ends. Keep it elsewhere: given to the next verify as --since, it finds even a database that
    was put back to an older state as a whole. Exit codes: 0, or 1 when something is wrong.
    """
    from stopgap.timeline import open as opening

    with opening.timeline() as timeline:
        verdict = timeline.verify(since=since)
    if not as_json:
        return _say(verdict)
    _print_json(asdict(verdict))
    return Exit.FAILED if verdict.damages else Exit.DONE


@command.command(epilog=examples.lines(("stopgap timeline backup timeline.dump", "while everything runs, at any time")))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(*, file: Path) -> None:
    """Save the whole timeline to FILE. The key that signs it (timeline.key in stopgap's home) is not in it: keep that apart."""
    from stopgap.timeline import dump
    from stopgap.timeline import open as opening

    with opening.database() as url:
        dump.backup(url, file)
    click.echo(f"Saved to {file}. Bring it back with:  stopgap timeline restore {file}")


@command.command(epilog=examples.lines(("stopgap timeline restore timeline.dump", "into a new home, with its timeline.key")))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def restore(*, file: Path) -> int:
    """Bring the timeline back from FILE into a database that has no entries, and verify it."""
    from stopgap.timeline import dump
    from stopgap.timeline import open as opening

    with opening.database() as url:
        dump.restore(url, file)
        with opening.connected(url) as timeline:
            return _say(timeline.verify())


def _say(verdict: Verdict) -> Exit:
    for damage in verdict.damages:
        click.echo(damage.sentence)
    wrong = len(verdict.damages)
    state = f"{wrong} {'chain is' if wrong == 1 else 'chains are'} broken" if wrong else "unbroken"
    entries = f"{verdict.entries:,} {'entry' if verdict.entries == 1 else 'entries'}"
    click.echo(f"{entries} in {verdict.chains:,} {'chain' if verdict.chains == 1 else 'chains'}: {state}.")
    if verdict.end:
        click.echo(f"ends at {verdict.end}")
    return Exit.FAILED if verdict.damages else Exit.DONE


def _entries(timeline: PostgresTimeline, what: str) -> Sequence[Entry]:
    """Return the entries of an incident or a run; UsageError says which there are."""
    found = timeline.of_chain(what) or timeline.of_run(what)
    if found:
        return found
    import difflib

    names = timeline.chains(limit=1000)
    near = difflib.get_close_matches(what, names, n=1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    more = ", ..." if len(names) > _EXISTING else ""
    there = f"There are: {', '.join(names[:_EXISTING])}{more}." if names else "The timeline has no incidents yet."
    raise UsageError(f'The timeline has no incident, drill or run "{what}".{hint}\n{there}')


def _duration(text: str) -> timedelta:
    from stopgap.clock import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--until-quiet: {error}.") from error


def _print_json(value: object) -> None:
    import json

    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    click.echo()
