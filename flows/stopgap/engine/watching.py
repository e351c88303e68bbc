"""Sees that runbooks have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.runbook import load

if TYPE_CHECKING:
    from pathlib import Path

Fingerprint = frozenset[tuple[str, int, int]]


def fingerprint(folder: Path) -> Fingerprint:
    """Name, time and size of every YAML file below a folder: equal as long as nobody changed any."""
    found = set()
    for path in load.files(folder):
        try:
            status = path.stat()
        except OSError:
            continue  # it has just gone
        found.add((str(path), status.st_mtime_ns, status.st_size))
    return frozenset(found)
