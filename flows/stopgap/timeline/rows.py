"""Entries and heads as rows of their tables, and back."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC
from typing import TYPE_CHECKING, Any

from stopgap.timeline.chain import Head
from stopgap.timeline.entry import Entry

if TYPE_CHECKING:
    from sqlalchemy import Row


_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in (Entry, Head)}


def entry_of(row: Row[Any]) -> Entry:
    """Read an entry's row."""
    return Entry(**{**row._mapping, "at": row.at.astimezone(UTC)})  # noqa: SLF001  SQLAlchemy's public name for it


def head_of(row: Row[Any]) -> Head:
    """Read a head's row."""
    return Head(**{**row._mapping, "at": row.at.astimezone(UTC)})  # noqa: SLF001  as above


def row_of(record: Entry | Head, *, prefix: str = "") -> dict[str, Any]:
    """Return what is stored of an entry or a head, each name with the prefix."""
    return {f"{prefix}{name}": getattr(record, name) for name in _NAMES[type(record)]}
