"""Entries as Markdown for people, CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from typing import TYPE_CHECKING, Literal

from stopgap.clock import format_time
from stopgap.timeline import chain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stopgap.timeline.entry import Entry

Format = Literal["md", "json", "csv"]
_COLUMNS = ("chain", "number", "at", "kind", "incident", "run", "step", "actor", "text", "data", "key", "previous", "hash")
# A spreadsheet takes such a cell for a formula; an alert's text may be anybody's.
_FORMULA = re.compile(r"^[=+\-@\t\r]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_MARKDOWN = re.compile(r"([\\`*_\[\]|#])")


def export(entries: Sequence[Entry], form: Format) -> str:
    """Write a chain's or a run's entries in one of the formats, with a line end at the end."""
    return _WRITERS[form](entries)


def one_line(text: str) -> str:
    """Return text without line ends and without anything that would move a terminal's cursor."""
    return _CONTROL.sub(" ", text).strip()


def _markdown(entries: Sequence[Entry]) -> str:
    if not entries:
        return "# Timeline\n\nNo entries.\n"
    first, last = entries[0], entries[-1]
    rows = "\n".join(
        f"| {entry.at:%Y-%m-%d %H:%M:%S} | {_cell(entry.step)} | {_cell(entry.text)} | {_cell(entry.actor)} | {entry.kind} |"
        for entry in entries
    )
    return (
        f"# {_cell(first.chain)}\n\n"
        f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'} from {first.at:%Y-%m-%d %H:%M:%S} to {last.at:%Y-%m-%d %H:%M:%S} UTC.\n\n"
        f"| time (UTC) | step | what happened | who | kind |\n|---|---|---|---|---|\n{rows}\n\n"
        f"The last entry is #{last.number}, hash `{last.hash}`.\n"
    )


def _json(entries: Sequence[Entry]) -> str:
    return json.dumps([chain.to_json(entry) for entry in entries], indent=2, ensure_ascii=False) + "\n"


def _csv(entries: Sequence[Entry]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for entry in entries:
        cells = {**chain.to_json(entry), "at": format_time(entry.at), "data": chain.canonical(entry.data)}
        writer.writerow([_unformulated(cells[name]) for name in _COLUMNS])
    return text.getvalue()


def _unformulated(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _cell(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", html.escape(one_line(text), quote=False))


_WRITERS: Mapping[Format, Callable[[Sequence[Entry]], str]] = {"md": _markdown, "json": _json, "csv": _csv}
