"""The pairs of tests/cases: a file, and the exact lines that lint says of it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from stopgap.runbook import files
from stopgap.runbook.known import Known, actions

FOLDER = Path(__file__).parent.parent / "cases"
OK = sorted((FOLDER / "ok").glob("*.yaml"))
BROKEN = sorted((FOLDER / "broken").glob("*.yaml"))
KNOWN = Known(today=date(2026, 11, 21), actions=actions())


def said_of(path: Path, *, known: Known = KNOWN) -> list[str]:
    """Return what lint says of one file, called by its name alone."""
    return [str(problem) for problem in files.Checker(known, shown={path: path.name}).check([path])]
