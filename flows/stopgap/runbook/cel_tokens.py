"""The words of a CEL expression: enough of a lexer to say which names it reads, and where each stands."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*)
    |(?P<text>(?:[rR]|[bB]|[bB][rR]|[rR][bB])?(?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<number>(?:0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+)[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>==|!=|<=|>=|&&|\|\||[\s\S])""",
    re.VERBOSE,
)
_WORDS = frozenset({"true", "false", "null", "in"})
_LOOPS = frozenset({"all", "exists", "exists_one", "filter", "map"})  # each binds its first argument
_OPENING, _CLOSING = "([{", ")]}"


class Token(NamedTuple):
    """One word: its kind (text, number, name or sign), and where it begins, from 0."""

    kind: str
    text: str
    start: int


class Name(NamedTuple):
    """A name that an expression reads: its parts, and where each begins, from 0. `compared` are the texts it is compared with."""

    parts: tuple[str, ...]
    starts: tuple[int, ...]
    compared: tuple[tuple[str, int], ...] = ()

    @property
    def dotted(self) -> str:
        """The name as it is written: `steps.scale.status`."""
        return ".".join(self.parts)


@lru_cache(maxsize=1024)  # every rule asks again about the same few
def tokens(expression: str) -> tuple[Token, ...]:
    """Split an expression; what is no word of CEL comes as single signs."""
    found = ((match.lastgroup or "sign", match[0], match.start()) for match in _TOKEN.finditer(expression))
    return tuple(Token(*word) for word in found if word[0] != "blank")


def closing(text: str, start: int) -> int | None:
    """Return where the `}}` stands that closes an expression beginning at `start`, or None. CEL's own braces are counted."""
    depth = 0
    for match in _TOKEN.finditer(text, start):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            if depth == 0 and text.startswith("}}", match.start()):
                return match.start()
            depth = max(0, depth - 1)
    return None


def depth(expression: str) -> int:
    """Return how deep brackets and signs before a value nest in an expression, at most."""
    now = most = 0
    for token in tokens(expression):
        if token.kind == "sign":
            now += (token.text in _OPENING) - (token.text in _CLOSING)
            most = max(most, now)
    return most


def loops(expression: str) -> int:
    """Return how many loops (map, filter, all, ...) an expression holds."""
    return len(_bound(tokens(expression)))


@lru_cache(maxsize=1024)
def names(expression: str) -> tuple[Name, ...]:
    """Return every name an expression reads, in order; functions, methods and names bound by map, all, ... are none."""
    words = tokens(expression)
    bound = _bound(words)
    return tuple(
        name for index, name in _chains(words) if not any(name.parts[0] == one and first <= index <= last for one, first, last in bound)
    )


def functions(expression: str) -> list[Token]:
    """Return the functions and methods an expression calls, in order."""
    words = tokens(expression)
    return [
        word for word, following in itertools.pairwise(words) if word.kind == "name" and following.text == "(" and word.text not in _WORDS
    ]


def _chains(words: Sequence[Token]) -> Iterator[tuple[int, Name]]:
    for index, word in enumerate(words):
        after_dot = index > 0 and words[index - 1].text == "."
        calls = index + 1 < len(words) and words[index + 1].text == "("
        if word.kind == "name" and word.text not in _WORDS and not after_dot and not calls:
            parts, end = _chain(words, index)
            yield index, Name(tuple(part.text for part in parts), tuple(part.start for part in parts), _compared(words, index, end))


def _chain(words: Sequence[Token], index: int) -> tuple[list[Token], int]:
    parts, at = [words[index]], index + 1
    while at + 1 < len(words):
        following = words[at + 1]
        if words[at].text == "." and following.kind == "name":
            if at + 2 < len(words) and words[at + 2].text == "(":
                break
            parts.append(following)
            at += 2
        elif words[at].text == "[" and following.kind == "text" and at + 2 < len(words) and words[at + 2].text == "]":
            parts.append(Token("name", unquoted(following.text), following.start))
            at += 3
        else:
            break
    return parts, at


def _compared(words: Sequence[Token], start: int, end: int) -> tuple[tuple[str, int], ...]:
    """Return the literal texts that the name from `start` to `end` is compared with."""
    found: list[Token] = []
    if end + 1 < len(words) and words[end].text in {"==", "!="} and words[end + 1].kind == "text":
        found.append(words[end + 1])
    if start > 1 and words[start - 1].text in {"==", "!="} and words[start - 2].kind == "text":
        found.append(words[start - 2])
    if end + 1 < len(words) and words[end].text == "in" and words[end + 1].text == "[":
        for word in words[end + 2 :]:
            if word.text == "]":
                break
            found += [word] if word.kind == "text" else []
    return tuple((unquoted(word.text), word.start) for word in found)


def unquoted(literal: str) -> str:
    """Return the text of a CEL literal; escapes stay as written."""
    body = literal.lstrip("rRbB")
    return body[3:-3] if body[:3] in {'"""', "'''"} else body[1:-1]


def _bound(words: Sequence[Token]) -> list[tuple[str, int, int]]:
    """Return the names that loops bind, each with the span of words in which it holds."""
    found = []
    for index in range(1, len(words) - 2):
        opens = words[index].text in _LOOPS and words[index - 1].text == "." and words[index + 1].text == "("
        if opens and words[index + 2].kind == "name":
            found.append((words[index + 2].text, index + 2, _end_of(words, index + 1)))
    return found


def _end_of(words: Sequence[Token], opening: int) -> int:
    level = 0
    for index in range(opening, len(words)):
        level += (words[index].text in _OPENING) - (words[index].text in _CLOSING)
        if level == 0:
            return index
    return len(words)
