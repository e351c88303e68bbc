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
    runbook, more = check(found, known=known or _installed()) if found else (None, [])
    errors = [problem for problem in [*problems, *more] if problem.severity == "error"]
    if runbook is None or errors:
        raise ProblemsError(errors)
    return runbook


def load_all(folder: Path, *, known: Known | None = None) -> dict[str, Runbook]:
    """Read every runbook in a folder, by name; files of another kind are passed over. ProblemsError with the mistakes of all files."""
    against = known or _installed()
    found: dict[str, Runbook] = {}
    problems: list[Problem] = []
    for path in files(folder):
        try:
            if not is_of_another_kind(path):
                runbook = load(path, known=against)
                problems += [_named_twice(runbook, found[runbook.name])] if runbook.name in found else []
                found.setdefault(runbook.name, runbook)
        except ProblemsError as error:
            problems += error.problems
    if problems:
        raise ProblemsError(problems)
    return found


def files(folder: Path) -> list[Path]:
    """Return the YAML files below a folder, hidden ones left out, sorted."""
    found = [path for end in ("*.yaml", "*.yml") for path in folder.rglob(end)]
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def is_of_another_kind(path: Path) -> bool:
    """The file says that it is something else than a runbook: a policy, a drill."""
    found, _ = document.examine(path)
    return found is not None and kind_of(found.data) not in {None, KIND}


def kind_of(data: Any) -> str | None:
    """Return what a file says it is; None when it says nothing."""
    kind = data.get("kind") if isinstance(data, dict) else None
    return kind if isinstance(kind, str) else None


def check(found: Document, *, known: Known) -> tuple[Runbook | None, list[Problem]]:
    """Return the runbook of a document, None when it has mistakes, and all problems, warnings included."""
    problems = schema.check(found, "runbook")
    problems += rules.check(found, known)
    is_sound = all(problem.severity != "error" for problem in problems)
    return (build(found) if is_sound else None), problems


def _installed() -> Known:
    return knowledge.Known(actions=knowledge.actions() or None)


def _named_twice(runbook: Runbook, first: Runbook) -> Problem:
    found = document.read(runbook.path)
    return found.problem(
        ("name",), f'the runbook "{runbook.name}" is already in {first.path}', "duplicate-name", hint="give it another name"
    )
