"""Values in Markdown, for Prefect's forms and artifacts.

Both of Prefect's UIs render GitHub's Markdown, each with another parser, and parsers disagree about backslashes in tables and code. Numeric
character references mean the same to all of them: CommonMark 0.31, section 2.5, decodes them everywhere but in code, and says that they
never stand for a sign of structure. So a value is never put into a code span, and code blocks get a fence that no value can close.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stopgap.rendering import characters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Kept as they are, so that the text reads well for programs too: what no parser gives a meaning in the middle of a line.
_HARMLESS = re.compile(
    r"[A-Za-z0-9 ,;/%()]|[^\x00-\x7f]"
    r"|(?<=[0-9])\.(?=[0-9])|(?<=[A-Za-z)])\.(?= |$)"  # 2.4.1 and the end of a sentence, but neither evil.example nor "1. "
    r"|(?<=[A-Za-z0-9])[-'](?=[A-Za-z0-9])|(?<=[A-Za-z0-9]):(?= )"
)


def text(value: object) -> str:
    """Return a value as inline text of one line, which no parser takes for markup, a link or an address."""
    shown = characters.line(value).strip(" ") or " "
    return "".join(each if _HARMLESS.match(shown, place) else f"&#{ord(each)};" for place, each in enumerate(shown))


def row(cells: Iterable[object]) -> str:
    """Return one row of a table; each cell is a value."""
    return f"| {' | '.join(text(each) for each in cells)} |"


def table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table: `head` are our own words, the rows' cells are values."""
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *map(row, rows)])


def code_block(lines: Iterable[object], *, language: str = "") -> str:
    """Return a fenced block, one value a line; the fence is longer than any run of backticks in it."""
    shown = [characters.line(each) for each in lines]
    longest = max((len(run) for each in shown for run in re.findall(r"`+", each)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}{language}", *shown, fence])
