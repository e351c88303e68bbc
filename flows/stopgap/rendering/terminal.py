"""Values on a terminal: no value can move the cursor, colour, clear, ring or begin a line of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.rendering import characters

if TYPE_CHECKING:
    from typing import LiteralString


def line(template: LiteralString, *values: object) -> str:
    """Fill a template in, as `str.format` does; each value becomes one visible line.

    Numbers keep their format (`{:>4}`); every other value is text.
    """
    return template.format(*(each if isinstance(each, (int, float)) else characters.line(each) for each in values))


def message(text: str) -> str:
    """Return a message of ours that may have several lines, as errors have; nothing in it can move the cursor."""
    return characters.block(text)
