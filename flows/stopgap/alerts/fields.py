"""Fields of a body that somebody else wrote: whatever stands in them, what comes out has the right type and a bearable length."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

from stopgap.alerts.model import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_LABELS = 100
_LONGEST_TEXT = 4_000
_LONGEST_KEY = 200
_LONGEST_TITLE = 200
_BEYOND = 2**63


def parse(body: bytes) -> Any:
    """Read JSON as expressions can take it; UnreadableError says what is wrong with it."""
    try:
        found = json.loads(body, parse_constant=_refuse, parse_float=_float, parse_int=_integer)
        return _mended(found) if b"\\ud" in body or b"\\uD" in body else found
    except UnicodeDecodeError as error:
        raise UnreadableError("The body is not text in UTF-8.") from error
    except RecursionError as error:
        raise UnreadableError("The body is nested too deeply.") from error
    except json.JSONDecodeError as error:
        raise UnreadableError(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
    except ValueError as error:
        raise UnreadableError(f"The body is not JSON that can be used: {error}.") from error


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Require a mapping."""
    if not isinstance(value, dict):
        raise UnreadableError(f"{what} must be a mapping, not {kind_of(value)}.")
    return value


def listed(value: Any, what: str) -> list[Any]:
    """Require a list."""
    if not isinstance(value, list):
        raise UnreadableError(f"{what} must be a list, not {kind_of(value)}.")
    return value


def require(data: Mapping[str, Any], name: str, where: str = "The body") -> str:
    """Return a text that must be there and not be empty."""
    found = text(data.get(name))
    if not found:
        raise UnreadableError(f'{where} has no "{name}".')
    return found


def part(data: Any, *path: str) -> Any:
    """Return what lies below these keys, None when something on the way is no mapping or lacks the key."""
    for name in path:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def text(value: Any) -> str:
    """Return anything as a text: nothing as an empty one, what is no text as JSON."""
    if value is None:
        return ""
    found = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _clean(found[:_LONGEST_TEXT])


def texts(value: Any) -> dict[str, str]:
    """Return a mapping of labels with texts as values; anything else than a mapping as an empty one."""
    if not isinstance(value, dict):
        return {}
    return {text(name)[:_LONGEST_KEY]: text(each) for name, each in list(value.items())[:MOST_LABELS]}


def tags(value: Any) -> dict[str, str]:
    """Return `a:b` tags, in a list or joined by commas, as labels; a tag without a colon has an empty value."""
    every = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    found: dict[str, str] = {}
    for tag in every[:MOST_LABELS]:
        name, _, rest = text(tag).strip().partition(":")
        if name:
            found.setdefault(name[:_LONGEST_KEY], rest)
    return found


def key(value: str) -> str:
    """Return what names an alert, short enough for an index; a long one keeps its beginning and is told apart by its hash."""
    value = _clean(value)
    if len(value) <= _LONGEST_KEY:
        return value
    return f"{value[:100]}...{hashlib.sha256(value.encode()).hexdigest()[:32]}"


def title(*candidates: Any) -> str:
    """Return the first text that says something, on one line."""
    found = next((words for each in candidates if (words := " ".join(text(each).split()))), "Alert")
    return found if len(found) <= _LONGEST_TITLE else f"{found[: _LONGEST_TITLE - 3]}..."


def kind_of(value: Any) -> str:
    """Say what a JSON value is."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    names = {dict: "a mapping", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


def _clean(value: str) -> str:
    """PostgreSQL takes neither NUL nor half of a surrogate pair."""
    return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def _mended(value: Any) -> Any:
    """Some senders cut a text in the middle of a character, and leave half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_mended(each) for each in value]
    return {_mended(name): _mended(each) for name, each in value.items()} if isinstance(value, dict) else value


def _integer(digits: str) -> int | float:
    """CEL has integers of 64 bits."""
    found = int(digits)
    return found if -_BEYOND <= found < _BEYOND else _float(digits)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _float(digits: str) -> float:
    found = float(digits)
    if not math.isfinite(found):
        raise ValueError(f"{digits[:20]} is too large")
    return found
