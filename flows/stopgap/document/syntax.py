"""libyaml's words for broken YAML, in words that say what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.document.model import line_of
from stopgap.problems import Position, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    import yaml

_WORDS = {
    "did not find expected key": (
        "this line does not fit the lines above it",
        "check its indentation, and quotes or brackets left open above",
    ),
    "mapping values are not allowed in this context": (
        'a ":" where no key can be',
        'put text that holds ": " in quotes; check the indentation',
    ),
    "found unexpected end of stream": ("the file ends inside quotes", 'close the "quotes" opened here'),
    "did not find expected ',' or ']'": ("this list is not closed", 'close it with "]", or put "," between its items'),
    "did not find expected ',' or '}'": ("this mapping is not closed", 'close it with "}", or put "," between its keys'),
    "could not find expected ':'": ("this line has no key", 'write "key: value"; check the indentation'),
    "did not find expected '-' indicator": ("this line does not fit the list above it", 'begin each item with "- ", all in one column'),
    "block sequence entries are not allowed in this context": ("a list cannot begin here", "put it on a line of its own below the key"),
    "did not find expected node content": ("a value is missing here", ""),
    "found character that cannot start any token": ("no value can begin with this character", "put the text in quotes"),
}


def explain(error: yaml.MarkedYAMLError, file: str, lines: Sequence[str]) -> Problem:
    """Say where the YAML breaks, and how to mend it."""
    mark = error.problem_mark or error.context_mark
    where = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
    found = error.problem or "this is not YAML"
    opened = error.context_mark
    if opened and ("quoted scalar" in (error.context or "") or "flow" in (error.context or "")):
        where = Position(opened.line + 1, opened.column + 1)
    line = line_of(lines, where)
    expression = _unquoted_expression(lines, where, mark.line + 1 if mark else where.line)
    if expression is not None:
        sentence, code, hint = (
            "this ${{ }} breaks the line, because it is not in quotes",
            "unquoted-expression",
            'quote the whole value: "${{ ... }}"',
        )
        return Problem(file, expression, sentence, code, hint=hint, source=line_of(lines, expression))
    if line[where.column - 1 : where.column] == "\t":
        return Problem(file, where, "a tab cannot indent", "syntax", hint="indent with spaces", source=line)
    sentence, hint = _WORDS.get(found, (found, ""))
    return Problem(file, where, sentence, "syntax", hint=hint, source=line)


def explain_character(character: object) -> str:
    """Say which character a YAML file cannot hold."""
    code = character if isinstance(character, int) else ord(str(character)[:1] or "\0")
    return f"this is not text: it holds the control character {code:#04x}"


def _unquoted_expression(lines: Sequence[str], first: Position, last: int) -> Position | None:
    """Return the place of a `${{` outside quotes in the lines the parser gave up on."""
    for number in range(first.line, last + 1):
        line = line_of(lines, Position(number, 1))
        at = line.find("${{")
        if at >= 0 and line[:at].count('"') % 2 == 0 and line[:at].count("'") % 2 == 0:
            return Position(number, at + 1)
    return None
