"""Read a YAML file into a `Document`, in one pass over the parser's events.

The events are composed here and not by PyYAML: its C `compose` crashes the process on deep nesting and drops duplicate keys, and its
constructors read YAML 1.1. Size, depth and aliases are limited while events come, so a hostile file ends early.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from stopgap.document.compose import Composer, FatalError
from stopgap.document.model import Document, Node, line_of, split_lines
from stopgap.document.syntax import explain, explain_character
from stopgap.problems import Position, Problem, ProblemsError

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_BYTES = 256 * 1024
_START = Position(1, 1)


def read(path: Path) -> Document:
    """Read a file; ProblemsError with every mistake in its YAML."""
    document, problems = examine(path)
    if document is None or problems:
        raise ProblemsError(problems)
    return document


def examine(path: Path, *, file: str = "") -> tuple[Document | None, list[Problem]]:
    """Read a file as far as it goes: the document, unless its YAML is broken beyond repair, and every mistake in it.

    `file` is its name in problems, the path itself when empty.
    """
    name = file or str(path)
    try:
        raw = _bytes_of(path)
    except OSError as error:
        return None, [Problem(name, _START, f"cannot be read: {error.strerror or error}", "unreadable")]
    if len(raw) > MOST_BYTES:
        sentence = f"the file is larger than {MOST_BYTES // 1024} KiB"
        return None, [Problem(name, _START, sentence, "too-large", hint="a runbook is a page that a person reads")]
    return parse(raw, path=path, file=name)


def parse(raw: bytes, *, path: Path | None = None, file: str = "") -> tuple[Document | None, list[Problem]]:
    """Read the bytes of a file; see `examine`."""
    name = file or str(path or "<text>")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = _place_in(raw[: error.start].decode("utf-8-sig"))
        return None, [Problem(name, where, "this is not text in UTF-8", "not-text", hint="a runbook is a YAML file, saved as UTF-8")]
    lines = split_lines(text)
    root, problems = _compose(text, lines, name)
    if root is None:
        return None, problems
    return Document(path or Path(name), name, hashlib.sha256(raw).hexdigest(), lines, root), problems


def joined(first: list[Problem], more: Iterable[Problem]) -> list[Problem]:
    """Put the mistakes of a file's YAML before those of its content, less those that only follow from them at the same place."""
    places = {problem.position for problem in first}
    return [*first, *(problem for problem in more if problem.position not in places)]


def _bytes_of(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MOST_BYTES + 1)


def _compose(text: str, lines: list[str], name: str) -> tuple[Node | None, list[Problem]]:
    composer = Composer(name, lines)
    try:
        root = composer.compose(iter(yaml.CLoader(text).get_event, None))
    except FatalError as fatal:
        return None, [*composer.problems, fatal.problem]
    except yaml.reader.ReaderError as error:
        where = _place_in(text[: error.position])
        problem = Problem(name, where, explain_character(error.character), "not-text", source=line_of(lines, where))
        return None, [*composer.problems, problem]
    except yaml.MarkedYAMLError as error:
        return None, [*composer.problems, explain(error, name, lines)]
    return root, composer.problems


def _place_in(before: str) -> Position:
    lines = split_lines(before)
    return Position(len(lines), len(lines[-1]) + 1)
