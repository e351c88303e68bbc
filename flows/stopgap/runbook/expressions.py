"""Expressions: CEL between `${{` and `}}` in any text of a runbook.

CEL ends, has no side effects and cannot reach Python. Only the extension module of common-expression-language is loaded: the package
itself imports its command line, which costs thirty times as much.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import math
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stopgap.problems import StopgapError
from stopgap.runbook import cel_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CHARACTERS = 2_000  # the parser panics on very long lines
MOST_DEPTH = 40  # and gives up at 96 levels
MOST_LOOPS = 4  # map, filter, all, ... inside each other multiply
_LOADING = threading.Lock()  # the parser's module panics when two threads load it at the same moment


class ExpressionError(StopgapError):
    """An expression could not be evaluated."""


class ExpressionSyntaxError(ExpressionError):
    """An expression is not CEL. `column` counts from 1 within it."""

    def __init__(self, message: str, *, column: int = 1) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True, slots=True)
class Found:
    """One `${{ }}` in a text: the expression without its marks, and where the whole begins and ends in the text."""

    source: str
    start: int
    end: int
    is_closed: bool = True


def _cel() -> Any:
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> Any:
    package = importlib.util.find_spec("cel")
    if package is None or package.origin is None:
        raise StopgapError("The package common-expression-language is missing.\nInstall stopgap again.")
    finder = importlib.machinery.FileFinder(str(Path(package.origin).parent), _extension_loader())
    spec = finder.find_spec("cel")
    if spec is None or spec.loader is None:
        raise StopgapError("The package common-expression-language has no module for this Python.\nInstall stopgap again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _extension_loader() -> Any:
    return (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)


@lru_cache(maxsize=1024)
def find(text: str) -> tuple[Found, ...]:
    """Return every `${{ }}` of a text, in order; a `}}` inside quotes does not close one."""
    found: list[Found] = []
    at = text.find("${{")
    while at >= 0:
        close = cel_tokens.closing(text, at + 3)
        end = len(text) if close is None else close + 2
        found.append(Found(text[at + 3 : len(text) if close is None else close], at, end, is_closed=close is not None))
        at = text.find("${{", end)
    return tuple(found)


@lru_cache(maxsize=4096)
def compiled(expression: str) -> Any:
    """Return the CEL program of an expression; ExpressionSyntaxError says what is wrong with it."""
    if not expression.strip():
        raise ExpressionSyntaxError("the expression is empty")
    if len(expression) > MOST_CHARACTERS or cel_tokens.depth(expression) > MOST_DEPTH:
        raise ExpressionSyntaxError("the expression is too long")
    if cel_tokens.loops(expression) > MOST_LOOPS:
        raise ExpressionSyntaxError("the expression loops too often")
    try:
        return _cel().compile(expression)
    except ValueError as error:
        raise _syntax_error(str(error)) from error


def _syntax_error(words: str) -> ExpressionSyntaxError:
    place = re.search(r"<input>:1:(\d+): (?:Syntax error: )?(.*)", words)
    if place is None:
        return ExpressionSyntaxError("this is not an expression")
    column, said = int(place[1]), place[2]
    found = re.match(
        r"(?:mismatched|extraneous) input (.+?) expecting|no viable alternative at input (.+)|token recognition error at: (.+)", said
    )
    if found is None:
        return ExpressionSyntaxError(said, column=column)
    what = next(group for group in found.groups() if group).replace("= '", "='")
    if what == "'='":
        return ExpressionSyntaxError("one = compares nothing; write ==", column=column)
    return ExpressionSyntaxError("the expression ends too early" if what == "'<EOF>'" else f"{what} does not fit here", column=column)


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """Evaluate one expression, without its `${{ }}`; ExpressionError names it and what went wrong."""
    program = compiled(expression)
    try:
        return program.execute(dict(names))
    except KeyError as error:
        raise ExpressionError(f"${{{{ {expression.strip()} }}}}: there is no {error}.") from error
    except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise ExpressionError(f"${{{{ {expression.strip()} }}}}: {_plain(error, expression)}") from error


def _plain(error: Exception, expression: str) -> str:
    undefined = re.match(r"Undefined variable or function: '([^']*)'", str(error))
    if undefined:
        is_called = any(call.text == undefined[1] for call in cel_tokens.functions(expression))
        return f"{undefined[1]} cannot be called like this." if is_called else f"there is no {undefined[1]}."
    return str(error).partition("\n")[0]


def holds(expression: str, names: Mapping[str, Any]) -> bool:
    """Evaluate a condition; ExpressionError unless it is true or false."""
    value = evaluate(expression, names)
    if not isinstance(value, bool):
        raise ExpressionError(f"${{{{ {expression.strip()} }}}} is a condition: it must be true or false, not {value!r}.")
    return value


def render(value: Any, names: Mapping[str, Any]) -> Any:
    """Evaluate every expression in a nested value. A text that is one expression takes its type; elsewhere the result becomes text."""
    if isinstance(value, str):
        return _render_text(value, names)
    if isinstance(value, Mapping):
        return {key: render(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [render(item, names) for item in value]
    return value


def _render_text(text: str, names: Mapping[str, Any]) -> Any:
    found = find(text)
    unclosed = next((one for one in found if not one.is_closed), None)
    if unclosed:
        raise ExpressionError(f"{text}: a ${{{{ is not closed by }}}}.")
    whole = whole_expression(text)
    if whole is not None:
        return _json(evaluate(whole, names), whole)
    parts: list[str] = []
    at = 0
    for one in found:
        parts += [text[at : one.start], _as_text(_json(evaluate(one.source, names), one.source), one.source)]
        at = one.end
    return "".join([*parts, text[at:]])


def whole_expression(text: str) -> str | None:
    """Return the expression that is all of a text but blanks, without its marks; otherwise None."""
    found = find(text)
    if len(found) != 1 or not found[0].is_closed:
        return None
    return found[0].source.strip() if text[: found[0].start].strip() == text[found[0].end :].strip() == "" else None


def _json(value: Any, expression: str) -> Any:
    """Keep to JSON's values: an action's arguments and the timeline hold no others."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ExpressionError(f"${{{{ {expression.strip()} }}}} gives {value}, which is not a number that can be used.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _json(item, expression) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, expression) for item in value]
    raise ExpressionError(f"${{{{ {expression.strip()} }}}} gives a {type(value).__name__}; make it text with string(...).")


def _as_text(value: Any, expression: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    what = "nothing" if value is None else "a list" if isinstance(value, list) else "a mapping"
    raise ExpressionError(f"${{{{ {expression.strip()} }}}} gives {what}, which cannot stand inside a text.")


def references(value: Any) -> set[str]:
    """Return the dotted names that the expressions of a nested value read: `params.replicas`, `steps.scale.output.before`."""
    return {name.dotted for text in _texts(value) if "${{" in text for one in find(text) for name in cel_tokens.names(one.source)}


def names_in(expression: str) -> set[str]:
    """Return the dotted names that one expression reads, without its `${{ }}`."""
    return {name.dotted for name in cel_tokens.names(expression)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
