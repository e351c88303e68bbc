"""`stopgap lint`: check runbooks, policy and drills, without touching any system."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stopgap import home
from stopgap.cli import examples
from stopgap.problems import Exit, UsageError
from stopgap.runbook import files, known, load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stopgap.problems import Problem


EXAMPLES = examples.lines(
    ("stopgap lint", "everything in ./runbooks"),
    ("stopgap lint runbooks/checkout", "one folder"),
    ("stopgap lint --format github", "annotations in a pull request"),
)


@click.command("lint", epilog=EXAMPLES)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text", help="How problems are printed.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def command(*, paths: tuple[str, ...], form: str, as_json: bool) -> int:
    """Check runbooks, policy and drills.

    PATH is a file or a folder; without one the runbooks folder is checked (./runbooks or STOPGAP_RUNBOOKS). A runbook is checked against
    the policy.yaml nearest above it. Every mistake is reported at once, as FILE:LINE:COLUMN: SENTENCE [CODE] HINT.

    Ends with 0 when there is no mistake (warnings do not count), 1 when there are some, 2 when a PATH does not exist.
    """
    found = _files([Path(path) for path in paths] or [home.runbooks_folder()])
    checker = files.Checker(known.Known(actions=known.actions() or None), shown={path: _shown(path) for path in found})
    problems = checker.check(found)
    _FORMATS["json" if as_json else form](problems, len(found))
    return Exit.FAILED if any(problem.severity == "error" for problem in problems) else Exit.DONE


def _files(paths: Sequence[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = load.files(path)
            if not inside:
                raise UsageError(f"There is no YAML file in {path}.\nWrite one to start from:  stopgap new NAME")
            found.update(dict.fromkeys(one.absolute() for one in inside))
        elif path.exists():
            found[path.absolute()] = None
        else:
            raise UsageError(f"There is no file {path}.\nName files or folders:  stopgap lint runbooks")
    return list(found)


def _shown(path: Path) -> str:
    """Name a file as short as possible: below the current folder without it."""
    here = os.path.relpath(path)
    return str(path) if here.startswith("..") else here


def _text(problems: Sequence[Problem], count: int) -> None:
    for problem in problems:
        click.echo(str(problem))
        if problem.source.strip():
            source = problem.source[:200]
            click.echo(f"    {source}\n    {' ' * (problem.position.column - 1)}^")
    click.echo(_total(problems, count), err=bool(problems))


def _total(problems: Sequence[Problem], count: int) -> str:
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    what = [_several(errors, "mistake")] if errors else ["no mistake"]
    what += [_several(warnings, "warning")] if warnings else []
    return f"{_several(count, 'file')}: {', '.join(what)}"


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _json(problems: Sequence[Problem], count: int) -> None:
    click.echo(json.dumps({"files": count, "problems": [_as_json(problem) for problem in problems]}, indent=2, ensure_ascii=False))


def _as_json(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.position.line,
        "column": problem.position.column,
        "severity": problem.severity,
        "code": problem.code,
        "sentence": problem.sentence,
        "hint": problem.hint,
    }


def _github(problems: Sequence[Problem], count: int) -> None:  # noqa: ARG001  every format has this shape
    for problem in problems:
        place = f"file={_escaped(problem.file, of=_IN_PLACES)},line={problem.position.line},col={problem.position.column}"
        text = f"{problem.sentence} [{problem.code}]{f'  {problem.hint}' if problem.hint else ''}"
        click.echo(f"::{problem.severity} {place},title={problem.code}::{_escaped(text, of=_IN_TEXTS)}")


_IN_TEXTS = "%\r\n"
_IN_PLACES = "%\r\n:,"


def _escaped(text: str, *, of: str) -> str:
    """Escape as GitHub's workflow commands want it: %25, %0D, %0A, %3A, %2C."""
    return "".join(f"%{ord(character):02X}" if character in of else character for character in text)


_FORMATS: dict[str, Callable[[Sequence[Problem], int], None]] = {"text": _text, "json": _json, "github": _github}
