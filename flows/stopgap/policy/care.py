"""What a policy may say by its schema and should not: durations that no incident lasts, and secrets in an address."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stopgap.clock import DURATION, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.document import Document, KeyPath
    from stopgap.problems import Problem

LONGEST = timedelta(days=366)
_DURATION = re.compile(DURATION)
_NAMED = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_PASSWORD = re.compile(r"://[^/@?]*:[^/@?]+@")
_PIECES = re.compile(r"[/:@?&=,.]+")
_TOKEN = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_~-]{16,}")  # what a service makes up; no word or host is like that


def too_long(found: Document) -> Iterator[Problem]:
    """Yield the durations that nobody can mean; they would be too long for a clock to count, too."""
    for path, text in _texts(found.data, ()):
        if len(text) > 1 and _DURATION.fullmatch(text) and _is_too_long(text):
            yield found.problem(path, f"{text} is longer than any incident", "bad-duration", hint="at most 366d")


def literal_secrets(found: Document) -> Iterator[Problem]:
    """Warn of an address to notify in which a password or token is written down: whoever reads the repository can then speak as stopgap."""
    for path, text in _addresses(found.data):
        if not text.startswith("file:") and _has_secret(text):
            sentence = "this address seems to hold a secret, and everybody who reads this file sees it"
            yield found.warning(path, sentence, "literal-secret", hint='keep it elsewhere: "${NAME}" in the environment, or file:PATH')


def _has_secret(address: str) -> bool:
    rest = _NAMED.sub("", address)
    pieces = _PIECES.split(rest.partition("://")[2])
    return bool(_PASSWORD.search(rest)) or any(_TOKEN.fullmatch(piece) for piece in pieces)


def _is_too_long(text: str) -> bool:
    try:
        return parse_duration(text) > LONGEST
    except OverflowError:
        return True


def _addresses(data: Any) -> Iterator[tuple[KeyPath, str]]:
    for name, person in data["people"].items():
        for kind in ("notify", "page"):
            for index, address in enumerate(person.get(kind, ())):
                yield ("people", name, kind, index), address
    for name, channel in data.get("notify", {}).items():
        yield ("notify", name, "url"), channel["url"]


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(item, (*path, key))
