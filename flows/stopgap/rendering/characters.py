"""Characters that change how a text reads without being seen are written as escapes: controls, direction marks, fillers, stacks of accents."""

from __future__ import annotations

import re
import unicodedata

MOST_MARKS = 3  # combining marks on one letter; Vietnamese and Hebrew need two or three, a stack of thirty covers the lines above it
_UNSAFE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})  # Unicode's general categories (UAX #44)
_FILLERS = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and symbols by category, and blank on every screen
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLAIN = re.compile(r"[ -~]*")


def line(value: object) -> str:
    """Return a value as one visible line; line breaks and every character that hides or moves text become visible escapes."""
    return _escaped(str(value), keep="")


def block(value: object) -> str:
    """Return a value that may have several lines; line feeds stay, everything else is as in `line`."""
    return _escaped(str(value), keep="\n")


def _escaped(text: str, *, keep: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    shown: list[str] = []
    marks = 0
    for each in text:
        category = unicodedata.category(each)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if each in keep:
            shown.append(each)
        elif category == "Zs":
            shown.append(" ")
        elif category in _UNSAFE or each in _FILLERS or marks > MOST_MARKS or (marks and len(shown) == 0):
            shown.append(_escape(each))
        else:
            shown.append(each)
    return "".join(shown)


def _escape(character: str) -> str:
    code = ord(character)
    named = _NAMED.get(character)
    if named:
        return named
    if code <= 0xFF:  # noqa: PLR2004  two hexadecimal digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004  four hexadecimal digits
