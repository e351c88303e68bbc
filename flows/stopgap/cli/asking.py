"""What the verbs that start and decide have in common: who is asking, which server, how a run is followed."""

from __future__ import annotations

import getpass
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stopgap import document as documents
from stopgap import home
from stopgap.approvals import responders
from stopgap.incidents.model import RunEnd
from stopgap.policy import load as policies
from stopgap.problems import Exit, ProblemsError, UsageError
from stopgap.runbook import load as runbooks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stopgap.policy.model import Policy
    from stopgap.problems import Problem
    from stopgap.runbook.model import Runbook
    from stopgap.timeline.entry import Entry, Timeline

EXITS = {
    RunEnd.DONE: Exit.DONE,
    RunEnd.FAILED: Exit.FAILED,
    RunEnd.ABORTED: Exit.FAILED,
    RunEnd.REJECTED: Exit.NOT_APPROVED,
    RunEnd.EXPIRED: Exit.NOT_APPROVED,
}
QUIET = frozenset(
    {"step.started", "step.applied", "step.verified", "gate.answered", "run.scheduled", "lock.taken", "lock.released", "notice.sent"}
)  # the entry after them says it all
COLOURS = {
    "step.finished": "green",
    "gate.asked": "yellow",
    "gate.reminded": "yellow",
    "gate.escalated": "yellow",
    "gate.refused": "red",
    "run.finished": "bold",
    "gate.decided": "cyan",
    "lock.blocked": "yellow",
    "notice.failed": "red",
}


def policy(found: Runbook | None = None) -> Policy:
    """Read the policy that holds for a runbook: the nearest above it; without one, that of the runbooks folder. ProblemsError when it is broken."""
    above = policies.find(found.path.parent) if found else None
    return policies.load(above or home.runbooks_folder() / policies.FILE)


def runbooks_by_name() -> Mapping[str, Runbook]:
    """Read every runbook that can be read; a warning names each file that cannot: at three in the morning it must not hold up the others."""
    found, problems = runbooks.load_sound(home.runbooks_folder())
    warn(problems)
    return found


def warn(problems: Iterable[Problem]) -> None:
    """Say in one line a file that it is broken, and how to see what is wrong with it."""
    for file, count in Counter(problem.file for problem in problems).items():
        click.echo(f"warning: {file} has {count} mistake{'s' if count > 1 else ''} and is left out; see  stopgap lint {file}", err=True)


def runbook(name: str) -> Runbook:
    """Find a runbook by its name. UsageError names the nearest; ProblemsError has the mistakes of the very one that is meant."""
    import difflib

    folder = home.runbooks_folder()
    found, problems = runbooks.load_sound(folder)
    own = [problem for problem in problems if _is_called(Path(problem.file), name)]
    if own:
        raise ProblemsError(own)
    warn(problems)
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        hint = f'Did you mean "{near[0]}"?' if near else f"There are: {', '.join(found) or 'none'}."
        raise UsageError(f'There is no runbook "{name}" in {folder}. {hint}')
    return found[name]


def _is_called(path: Path, name: str) -> bool:
    document, _ = documents.examine(path)
    return document is not None and isinstance(document.data, dict) and document.data.get("name") == name


def me(given: str | None) -> str:
    """Return who is asking: `--as`, STOPGAP_PERSON, or the name of the account."""
    return given or os.environ.get("STOPGAP_PERSON") or getpass.getuser()


def code(person: str, *, from_stdin: bool) -> str:
    """Ask for a one-time code without showing it, or read it as a line of standard input; blanks within it do not count."""
    if from_stdin:
        return sys.stdin.readline().replace(" ", "").strip()
    if not sys.stdin.isatty():
        raise UsageError(f"There is no terminal on which to ask for the one-time code of {person}. Give it as a line with  --code-stdin")
    typed: str = click.prompt(f"One-time code of {person}", hide_input=True, err=True)
    return typed.replace(" ", "").strip()


def code_if_needed(timeline: Timeline, policy: Policy, person: str, *, from_stdin: bool) -> str:
    """Ask for the one-time code where one counts; whoever has none is not asked, and refused with the way to get one."""
    if not policy.approvals.require_code or person not in responders.roll(timeline).enrolled:
        return ""
    return code(person, from_stdin=from_stdin)


def follow(timeline: Timeline, incident: str, run: str, *, quiet: bool = False) -> Exit:
    """Print a run's entries as they come until it ends; the exit code says how. Ctrl-C leaves the run alone, and says so."""
    try:
        return _follow(timeline, incident, run, quiet=quiet)
    except KeyboardInterrupt:
        click.echo(f"\n{run} goes on. Follow it with:  stopgap timeline follow {run}    End it with:  stopgap abort {run}", err=True)
        raise


def _follow(timeline: Timeline, incident: str, run: str, *, quiet: bool) -> Exit:
    shown = {run}  # and the runs that are steps of it
    for entry in timeline.follow(incident):
        if entry.run not in shown:
            continue
        if entry.kind == "step.delegated":
            shown.add(entry.data["run"])
        if entry.kind not in QUIET and not quiet:
            show(entry)
        if entry.kind == "run.finished" and entry.run == run:
            return EXITS[RunEnd(entry.data["end"])]
    return Exit.FAILED


def show(entry: Entry, *, hints: bool = True) -> None:
    """Print one entry on a line, in colour for a person; with the commands that answer a question."""
    line = f"{entry.at.astimezone():%H:%M:%S}  {entry.text}"
    colour = COLOURS.get(entry.kind) if sys.stdout.isatty() else None
    click.echo(click.style(line, bold=True) if colour == "bold" else click.style(line, fg=colour) if colour else line)
    if entry.kind == "gate.asked" and hints:
        click.echo(f"          stopgap approve {entry.run}   or   stopgap reject {entry.run}")
