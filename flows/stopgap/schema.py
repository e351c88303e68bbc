"""JSON Schemas: where they lie, and a document checked against one, with every mistake in words that help.

The check is jsonschema-rs, because importing jsonschema takes longer than linting a file may take; a test keeps the two of one mind.
"""

from __future__ import annotations

import difflib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stopgap.clock import DURATION
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import jsonschema_rs

    from stopgap.document import Document, KeyPath
    from stopgap.problems import Problem

_KINDS = {
    "null": "nothing", "boolean": "true or false", "integer": "a whole number", "number": "a number",
    "string": "text", "array": "a list", "object": "a mapping",
}  # fmt: skip

# What a pattern without words of its own means; the actions' schemas are generated and have none.
_PATTERNS = {
    f"^{DURATION}$": {
        "code": "bad-duration",
        "says": "is not a duration",
        "hint": "write a number with d, h, m or s, like 90s, 15m or 2h30m",
    },
    "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": {
        "code": "bad-name",
        "says": "cannot be the name of anything in Kubernetes",
        "hint": "use small letters, digits and dashes",
    },
    "^https?://[^\\s/]+": {"code": "bad-url", "says": "is not an address", "hint": "write it like http://checkout:8080/health"},
}


class MissingSchemaError(StopgapError):
    """A schema is not where it should be."""


@cache
def folder() -> Path:
    """Return the folder of the schemas: in a wheel inside the package, in a checkout beside `flows/`."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "_schemas", package.parent.parent / "schemas"):
        if (candidate / "runbook.schema.json").is_file():
            return candidate
    raise MissingSchemaError(f"The schemas of stopgap are not installed: looked in {package / '_schemas'}.\nInstall stopgap again.")


@cache
def load(name: str) -> dict[str, Any]:
    """Return a schema by name: `runbook`, `policy`, `actions/kubernetes.scale`. Do not change it."""
    path = folder() / f"{name}.schema.json"
    try:
        return dict(json.loads(path.read_bytes()))
    except OSError as error:
        raise MissingSchemaError(f"There is no schema {path}.") from error


@cache
def _validator(name: str) -> jsonschema_rs.Draft202012Validator:
    return compiled(load(name))


def compiled(schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """Return a validator to use for many documents."""
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(dict(schema))


def check(document: Document, name: str) -> list[Problem]:
    """Check a whole document against a schema by name; every mistake, unsorted."""
    return problems_of(document, (), load(name), _validator(name).iter_errors(document.data))


def problems_of(
    document: Document,
    base: KeyPath,
    schema: Mapping[str, Any],
    errors: Iterable[jsonschema_rs.ValidationError],
) -> list[Problem]:
    """Put a validator's errors about the value at `base` into words and places."""
    return [problem for error in errors for problem in _translate(document, base, schema, error)]


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the hint `did you mean "timeout"?`, or nothing when no choice is near."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""


def listed(words: Iterable[object], *, last: str = "or") -> str:
    """Join words for people: `a, b or c`."""
    texts = [str(word) for word in words]
    return f"{', '.join(texts[:-1])} {last} {texts[-1]}" if len(texts) > 1 else "".join(texts)


def kind_of(value: object) -> str:
    """Say what a JSON value is, as a person would: `a list`, `the text "x"`, `the number 3`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {_short(value)}"
    if isinstance(value, str):
        return f"the text {_short(value)}"
    return "a list" if isinstance(value, list) else "a mapping"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:56]}..."  # noqa: PLR2004  the width of a name


def _translate(document: Document, base: KeyPath, schema: Mapping[str, Any], error: jsonschema_rs.ValidationError) -> Iterator[Problem]:
    path = (*base, *error.instance_path)
    kind = error.kind
    part = _part(schema, error.schema_path[:-1])
    words = _WORDS.get(kind.name, _otherwise)
    yield from words(document, path, part, error)


def _part(schema: Mapping[str, Any], path: Iterable[str | int]) -> Mapping[str, Any]:
    found: Any = schema
    for step in path:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            return {}
    return found if isinstance(found, dict) else {}


def _unknown_keys(document: Document, path: KeyPath, part: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    known = [name for name, allowed in part.get("properties", {}).items() if allowed is not False]
    for key in error.kind.unexpected:
        hint = nearest(key, known) or (f"the keys here are {listed(known, last='and')}" if known else "")
        yield document.problem((*path, key), f'unknown key "{key}"', "unknown-key", hint=hint, at_key=True)


def _missing(document: Document, path: KeyPath, part: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    key = error.kind.property
    asking = [name for name, needed in part.get("dependentRequired", {}).items() if key in needed and name in error.instance]
    if asking and list(error.schema_path)[-1] == "dependentRequired":
        yield document.problem((*path, asking[0]), f'"{asking[0]}" needs "{key}" beside it', "missing-key", at_key=True)
        return
    meaning = str(part.get("properties", {}).get(key, {}).get("description", "")).split(". ")[0].rstrip(".")
    yield document.problem(path, f'the key "{key}" is missing', "missing-key", hint=f"{key}: {meaning}" if meaning else "", at_key=True)


def _type(document: Document, path: KeyPath, part: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    wanted = listed(_KINDS[name] for name in error.kind.types)
    hint = str(part.get("x-hint", "")) or _quote_hint(error.kind.types, error.instance)
    yield document.problem(path, f"{_where(path)} must be {wanted}, not {kind_of(error.instance)}", "wrong-type", hint=hint)


def _quote_hint(types: Iterable[str], value: object) -> str:
    wants_text = "string" in types and isinstance(value, int | float | bool)
    return f'put it in quotes: "{json.dumps(value)}"' if wants_text else ""


def _enum(document: Document, path: KeyPath, _: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    options = error.kind.options
    hint = nearest(str(error.instance), [str(option) for option in options])
    sentence = f"{_where(path)} must be {listed(options)}, not {kind_of(error.instance)}"
    yield document.problem(path, sentence, "not-a-choice", hint=hint)


def _constant(document: Document, path: KeyPath, _: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    sentence = f"{_where(path)} must be {_short(error.kind.expected_value)}, not {kind_of(error.instance)}"
    yield document.problem(path, sentence, "not-a-choice")


def _pattern(document: Document, path: KeyPath, part: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    says = part.get("x-problem") or _PATTERNS.get(part.get("pattern", ""), {})
    sentence = says.get("says", f"does not fit the pattern {part.get('pattern', '')}")
    yield document.problem(path, f"{_short(error.instance)} {sentence}", says.get("code", "bad-text"), hint=says.get("hint", ""))


def _bound(document: Document, path: KeyPath, _: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    words = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than", "exclusiveMaximum": "less than"}
    sentence = f"{_where(path)} must be {words[error.kind.name]} {_short(error.kind.limit)}, not {_short(error.instance)}"
    yield document.problem(path, sentence, "out-of-range")


def _too_few(document: Document, path: KeyPath, _: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    count = len(error.instance)
    hint = f"at least {error.kind.limit} are needed" if error.kind.limit > 1 else ""
    sentence = f"{_where(path)} has only {count} {_noun(error.instance)}" if count else f"{_where(path)} must not be empty"
    yield document.problem(path, sentence, "too-few" if count else "empty", hint=hint)


def _too_many(document: Document, path: KeyPath, _: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    sentence = f"{_where(path)} has {len(error.instance)} {_noun(error.instance)}; {error.kind.limit} are allowed"
    yield document.problem(path, sentence, "too-long")


def _noun(value: Any) -> str:
    one = "character" if isinstance(value, str) else "entry"
    several = "characters" if isinstance(value, str) else "entries"
    return one if len(value) == 1 else several


def _unique(document: Document, path: KeyPath, _: Mapping[str, Any], __: Any) -> Iterator[Problem]:
    yield document.problem(path, f"{_where(path)} names something twice", "twice")


def _property_name(document: Document, path: KeyPath, part: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    key = str(error.instance)
    if isinstance(error.instance, dict):
        names = part.get("propertyNames", part)
        key = str(getattr(error.kind.error, "instance", ""))
    else:
        names = part
    says = names.get("x-problem", {})
    sentence = says.get("says", "cannot be a key here")
    yield document.problem((*path, key), f'"{key}" {sentence}', says.get("code", "bad-name"), hint=says.get("hint", ""), at_key=True)


def _any_of(document: Document, path: KeyPath, part: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    says = part.get("x-problem")
    if says:
        yield document.problem(path, f"{_where(path)} {says['says']}", says["code"], hint=says.get("hint", ""), at_key=True)
        return
    types = [name for branch in part.get("anyOf") or part.get("oneOf") or [] for name in _types(branch)]
    sentence = f"{_where(path)} cannot be {kind_of(error.instance)}"
    hint = _quote_hint(types, error.instance) or (f"it is {listed(dict.fromkeys(_KINDS[name] for name in types))}" if types else "")
    yield document.problem(path, sentence, "wrong-type", hint=hint)


def _types(branch: Mapping[str, Any]) -> list[str]:
    named = branch.get("type", [])
    return [named] if isinstance(named, str) else list(named)


def _otherwise(document: Document, path: KeyPath, _: Mapping[str, Any], error: Any) -> Iterator[Problem]:
    yield document.problem(path, str(error.message), "not-valid")


def _where(path: KeyPath) -> str:
    names = [part for part in path if isinstance(part, str)]
    if not names:
        return "the file"
    return f'"{names[-1]}"' if path[-1] == names[-1] else f'an entry of "{names[-1]}"'


_WORDS: dict[str, Callable[[Document, KeyPath, Mapping[str, Any], Any], Iterator[Problem]]] = {
    "additionalProperties": _unknown_keys,
    "unevaluatedProperties": _unknown_keys,
    "required": _missing,
    "type": _type,
    "enum": _enum,
    "const": _constant,
    "pattern": _pattern,
    "minimum": _bound,
    "maximum": _bound,
    "exclusiveMinimum": _bound,
    "exclusiveMaximum": _bound,
    "minItems": _too_few,
    "minLength": _too_few,
    "minProperties": _too_few,
    "maxItems": _too_many,
    "maxLength": _too_many,
    "uniqueItems": _unique,
    "propertyNames": _property_name,
    "anyOf": _any_of,
    "oneOf": _any_of,
}
