"""Parser events into nodes, within limits; every mistake that YAML itself would let pass is collected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from stopgap.document.model import Node, line_of
from stopgap.document.scalars import ScalarError, resolve
from stopgap.problems import Position, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

_Place = tuple[int, int]  # line and column; a Position only once it is reported

MOST_DEPTH = 32
MOST_VALUES = 20_000


class FatalError(Exception):
    """Reading cannot go on after this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet; `key` is the key whose value is awaited."""

    line: int
    column: int
    anchor: str | None
    data: Any
    is_mapping: bool
    keys: dict[str, _Place] = field(default_factory=dict)
    named: dict[str, Node] = field(default_factory=dict)
    listed: list[Node] = field(default_factory=list)
    size: int = 1
    key: tuple[str, _Place] | None = None
    dropped: bool = False  # the awaited value belongs to a key that is not accepted


class Composer:
    """Builds one document's nodes; `problems` are the mistakes found on the way."""

    def __init__(self, file: str, lines: list[str]) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._lines = lines
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}  # None while the anchored collection is still open
        self._values = 0
        self._root: Node | None = None

    def compose(self, events: Iterable[Any]) -> Node:
        """Return the root; FatalError when a limit is passed or the file holds no document, or two."""
        for event in events:
            kind = type(event)
            if kind is ScalarEvent:
                self._scalar(event)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self._start(event)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self._end(event)
            elif kind is AliasEvent:
                self._alias(event)
            elif kind is DocumentStartEvent and self._root is not None:
                raise self._fatal(
                    event, 'a second document begins after "---"', "many-documents", "put each runbook into a file of its own"
                )
        if self._root is None or (self._root.data is None and self._root.is_plain):
            raise FatalError(
                Problem(self._file, Position(1, 1), "the file is empty", "empty-file", hint="stopgap new NAME writes one to start from")
            )
        return self._root

    def _scalar(self, event: Any) -> None:
        self._count(event, 1)
        self._refuse_tag(event)
        text: str = event.value
        is_plain = not event.style and event.tag is None
        start = _place(event.start_mark)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.is_mapping and frame.key is None:
            self._key(frame, text, start, is_plain=is_plain)
            return
        value = self._resolve(text, start) if is_plain else text
        node = Node(value, *start, event.end_mark.line + 1, is_plain=is_plain)
        self._add(node, event.anchor)

    def _resolve(self, text: str, start: _Place) -> Any:
        try:
            return resolve(text)
        except ScalarError as error:
            self._problem(start, error.sentence, error.code, error.hint)
            return 0

    def _key(self, frame: _Open, text: str, start: _Place, *, is_plain: bool) -> None:
        frame.key = (text, start)
        frame.dropped = True
        if is_plain and text == "<<":
            self._problem(start, '"<<" does not merge here: YAML 1.2 has no merge keys', "merge-key", "write the keys out")
        elif is_plain and not isinstance(self._resolve_key(text), str):
            self._problem(start, f"the key {text or '(nothing)'} is not text", "key-not-text", f'write "{text}" in quotes')
        elif text in frame.keys:
            self._problem(start, f'key "{text}" is already set at {Position(*frame.keys[text])}', "duplicate-key", "keep one of the two")
        else:
            frame.dropped = False

    def _resolve_key(self, text: str) -> Any:
        try:
            return resolve(text)
        except ScalarError:
            return None

    def _start(self, event: Any) -> None:
        self._count(event, 1)
        if len(self._stack) >= MOST_DEPTH:
            raise self._fatal(event, f"more than {MOST_DEPTH} levels inside each other", "too-deep", "no runbook nests so deep")
        self._refuse_tag(event)
        is_mapping = isinstance(event, MappingStartEvent)
        parent = self._stack[-1] if self._stack else None
        if parent is not None and parent.is_mapping and parent.key is None:
            raise self._fatal(
                event, "a key cannot be a mapping or a list", "key-not-text", 'quote the whole text if it begins with "{" or "["'
            )
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(*_place(event.start_mark), event.anchor, {} if is_mapping else [], is_mapping))

    def _end(self, event: Any) -> None:
        frame = self._stack.pop()
        items = frame.named if frame.is_mapping else frame.listed
        node = Node(frame.data, frame.line, frame.column, event.end_mark.line + 1, frame.size, keys=frame.keys, items=items)
        self._add(node, frame.anchor)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise self._fatal(
                event,
                f'nothing is named "&{event.anchor}" above this "*{event.anchor}"',
                "unknown-alias",
                "quote the text if it begins with *",
            )
        node = self._anchors[event.anchor]
        if node is None:
            raise self._fatal(event, f'"*{event.anchor}" holds itself', "endless-alias", "write the values out")
        frame = self._stack[-1]
        if frame.is_mapping and frame.key is None:
            raise self._fatal(event, "a key cannot be an alias", "key-not-text", "write the key out")
        self._count(event, node.size)
        self._add(node, None)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        frame.size += node.size
        if not frame.is_mapping:
            frame.data.append(node.data)
            frame.listed.append(node)
            return
        name, where = frame.key or ("", (node.line, node.column))
        frame.key = None
        if not frame.dropped:
            frame.data[name] = node.data
            frame.keys[name] = where
            frame.named[name] = node

    def _count(self, event: Any, size: int) -> None:
        self._values += size
        if self._values > MOST_VALUES:
            code = "alias-bomb" if isinstance(event, AliasEvent) else "too-many-values"
            raise self._fatal(
                event, f"more than {MOST_VALUES:,} values, aliases written out", code, "a runbook is a page that a person reads"
            )

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._problem(
                _place(event.start_mark),
                f'the tag "{tag}" means nothing here',
                "tag",
                "leave it out; quote text that begins with !",
            )

    def _problem(self, where: _Place, sentence: str, code: str, hint: str) -> None:
        position = Position(*where)
        self.problems.append(Problem(self._file, position, sentence, code, hint=hint, source=line_of(self._lines, position)))

    def _fatal(self, event: Any, sentence: str, code: str, hint: str) -> FatalError:
        where = Position(*_place(event.start_mark))
        return FatalError(Problem(self._file, where, sentence, code, hint=hint, source=line_of(self._lines, where)))


def _place(mark: Any) -> _Place:
    return mark.line + 1, mark.column + 1
