"""`Document`: a YAML file as JSON data, with the place of every key and value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from stopgap.problems import Position, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

KeyPath = tuple[str | int, ...]  # ("steps", 0, "with", "replicas")

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what libyaml counts as the end of a line
_NOTHING: Mapping[str, tuple[int, int]] = MappingProxyType({})


class Node(NamedTuple):
    """One value: `data` as JSON, and where it stands. `size` counts every value in it, aliases written out.

    `keys` are the places of a mapping's keys, `items` its values or a list's. `is_plain` is true of text without quotes. A tuple, because
    a file has hundreds of them.
    """

    data: Any
    line: int
    column: int
    last_line: int
    size: int = 1
    is_plain: bool = False
    keys: Mapping[str, tuple[int, int]] = _NOTHING
    items: Mapping[str, Node] | Sequence[Node] = ()

    @property
    def position(self) -> Position:
        """Where it begins."""
        return Position(self.line, self.column)


@dataclass(frozen=True, slots=True)
class Document:
    """A file that is well-formed YAML. `digest` is the SHA-256 of its bytes, in hexadecimal; `file` is its name in problems."""

    path: Path
    file: str
    digest: str
    lines: Sequence[str]
    root: Node

    @property
    def data(self) -> Any:
        """The whole file as JSON values. Do not change them."""
        return self.root.data

    def node(self, path: KeyPath) -> Node:
        """Return the value at a path, or the nearest one above it."""
        return self._walk(path)[0]

    def position(self, path: KeyPath) -> Position:
        """Where the value at a path begins."""
        return self._walk(path)[0].position

    def key_position(self, path: KeyPath) -> Position:
        """Where the key of a path stands; an item of a list has no key, so it is where the item begins."""
        return self._walk(path)[1]

    def problem(self, path: KeyPath, sentence: str, code: str, *, hint: str = "", at_key: bool = False) -> Problem:
        """Report a mistake at the value, or at the key, of a path."""
        where = self.key_position(path) if at_key else self.position(path)
        return self.problem_at(where, sentence, code, hint=hint)

    def problem_at(self, position: Position, sentence: str, code: str, *, hint: str = "", severity: str = "error") -> Problem:
        """Report a mistake at a place in this file."""
        source = line_of(self.lines, position)
        return Problem(self.file, position, sentence, code, hint=hint, source=source, severity=severity)

    def warning(self, path: KeyPath, sentence: str, code: str, *, hint: str = "", at_key: bool = False) -> Problem:
        """Report something that does not make `lint` fail."""
        where = self.key_position(path) if at_key else self.position(path)
        return self.problem_at(where, sentence, code, hint=hint, severity="warning")

    def _walk(self, path: KeyPath) -> tuple[Node, Position]:
        node = self.root
        key = (node.line, node.column)
        for part in path:
            if isinstance(part, str) and part in node.keys:
                key, node = node.keys[part], node.items[part]  # type: ignore[call-overload]
            elif isinstance(part, int) and not node.keys and part < len(node.items):
                node = node.items[part]  # type: ignore[index]
                key = (node.line, node.column)
            else:
                break
        return node, Position(*key)


def split_lines(text: str) -> list[str]:
    """Split text where libyaml does, so that its line numbers are ours."""
    return _LINE_END.split(text)


def line_of(lines: Sequence[str], position: Position) -> str:
    """Return the text of the line a position is in, or nothing past the end."""
    return lines[position.line - 1] if 0 < position.line <= len(lines) else ""
