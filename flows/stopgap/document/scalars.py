"""What an unquoted word means: YAML 1.2's core schema, less what nobody means.

`on`, `no`, `12:30` and dates are text. A number with a leading zero is a mistake: YAML 1.1 reads it as octal, YAML 1.2 as decimal.
"""

from __future__ import annotations

import math
import re
from typing import Any

_WORDS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_FIRST = frozenset("0123456789+-.~ntfNTF")
_MOST_DIGITS = 300  # of an integer; Python itself refuses more than 4,300


class ScalarError(ValueError):
    """A plain scalar that is not accepted: a sentence, a code, a hint."""

    def __init__(self, sentence: str, code: str, hint: str) -> None:
        super().__init__(sentence)
        self.sentence, self.code, self.hint = sentence, code, hint


def resolve(text: str) -> Any:
    """Return the JSON value of an unquoted scalar; ScalarError for what is a trap."""
    if text and text[0] not in _FIRST:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _LEADING_ZERO.fullmatch(text):
        hint = f'write {int(text) if len(text) < _MOST_DIGITS else "it"} for the number, "{text}" in quotes for the text'
        raise ScalarError(f"{text} begins with a zero: some readers take it as octal", "leading-zero", hint)
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _NO_NUMBER.fullmatch(text):
        raise ScalarError(f"{text} is not a number that can be compared or counted", "not-a-number", "write a number, or quote the text")
    return _real(text) if _FLOAT.fullmatch(text) else text


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ScalarError(f"a number of {len(text)} digits", "not-a-number", "quote it if it is text")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ScalarError(f"{text} is too large a number", "not-a-number", "quote it if it is text")
    return value
