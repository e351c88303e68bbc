"""Read a runbook file: from YAML to a `Runbook`, or to every mistake in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap import document, schema
from stopgap.problems import Problem, ProblemsError
from stopgap.runbook import known as knowledge
from stopgap.runbook import rules
from stopgap.runbook.build import build

if TYPE_CHECKING:
    from pathlib import Path

    from stopgap.document import Document
    from stopgap.runbook.known import Known
    from stopgap.runbook.model import Runbook

KIND = "Runbook"


def load(path: Path, *, known: Known | None = None) -> Runbook:
    """Read a runbook; ProblemsError with every mistake in it. Warnings do not count."""
    found, problems = document.examine(path)
    return _sound(found, problems, known or installed())


def load_all(folder: Path, *, known: Known | None = None) -> dict[str, Runbook]:
    """Read every runbook in a folder, by name; files of another kind are passed over. ProblemsError with the mistakes of all files."""
    runbooks, wrong = load_sound(folder, known=known)
    if wrong:
        raise ProblemsError(wrong)
    return runbooks


def load_sound(folder: Path, *, known: Known | None = None) -> tuple[dict[str, Runbook], list[Problem]]:
    """Read the runbooks of a folder that have no mistakes, and the mistakes of the others: a broken file must not keep the rest from running."""
    against = known or installed()
    runbooks: dict[str, Runbook] = {}
    wrong: list[Problem] = []
    for path in files(folder):
        found, problems = document.examine(path)
        if found is not None and kind_of(found.data) not in {None, KIND}:
            continue
        try:
            runbook = _sound(found, problems, against)
        except ProblemsError as error:
            wrong += error.problems
        else:
            wrong += [_named_twice(found, runbooks[runbook.name])] if found and runbook.name in runbooks else []
            runbooks.setdefault(runbook.name, runbook)
    return runbooks, wrong


def _sound(found: Document | None, problems: list[Problem], known: Known) -> Runbook:
    runbook, more = check(found, known=known) if found else (None, [])
    errors = [problem for problem in document.joined(problems, more) if problem.severity == "error"]
    if runbook is None or errors:
        raise ProblemsError(errors)
    return runbook


def files(folder: Path) -> list[Path]:
    """Return the YAML files below a folder, hidden ones left out, sorted."""
    found = [path for end in ("*.yaml", "*.yml") for path in folder.rglob(end)]
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def kind_of(data: Any) -> str | None:
    """Return what a file says it is; None when it says nothing."""
    kind = data.get("kind") if isinstance(data, dict) else None
    return kind if isinstance(kind, str) else None


def check(found: Document, *, known: Known) -> tuple[Runbook | None, list[Problem]]:
    """Return the runbook of a document, None when it has mistakes, and all problems, warnings included."""
    problems = problems_in(found, known=known)
    is_sound = all(problem.severity != "error" for problem in problems)
    return (build(found) if is_sound else None), problems


def problems_in(found: Document, *, known: Known) -> list[Problem]:
    """Return every problem of a runbook's document, warnings included."""
    return schema.check(found, "runbook") + rules.check(found, known)


def installed() -> Known:
    """Return what this installation knows of: its actions. Policy is left to whoever runs the runbook."""
    return knowledge.Known(actions=knowledge.actions() or None)


def _named_twice(found: Document, first: Runbook) -> Problem:
    return found.problem(
        ("name",), f'the runbook "{found.data["name"]}" is already in {first.path}', "duplicate-name", hint="give it another name"
    )
