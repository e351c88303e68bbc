"""A run's parameters: defaults filled in, checked against each parameter's JSON Schema, every mistake at once."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from stopgap.problems import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jsonschema import ValidationError

    from stopgap.runbook.model import Parameter, Runbook


class ParameterError(UsageError):
    """The parameters do not fit the runbook."""


def check(runbook: Runbook, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every parameter's value; ParameterError names each unknown, missing and unfitting one."""
    mistakes = [*_unknown(runbook, given), *_missing(runbook, given), *_unfitting(runbook, given)]
    if mistakes:
        raise ParameterError(f"Runbook {runbook.name} cannot run with these parameters:\n" + "\n".join(f"  {each}" for each in mistakes))
    defaults = {name: parameter.schema["default"] for name, parameter in runbook.parameters.items() if not parameter.is_required}
    return {**defaults, **given}


def read(runbook: Runbook, written: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` as typed on a command line: the parameter's type decides whether 9 is a number or a text."""
    values: dict[str, Any] = {}
    for text in written:
        name, equals, value = text.partition("=")
        if not equals:
            raise ParameterError(f'"{text}" is no parameter; write it as name=value, like -p {next(iter(runbook.parameters), "name")}=3')
        values[name] = _typed(runbook.parameters.get(name), value)
    return values


def _typed(parameter: Parameter | None, value: str) -> Any:
    if parameter is None or parameter.schema.get("type") == "string":
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value  # the check against the schema says what is wrong with it


def _unknown(runbook: Runbook, given: Mapping[str, Any]) -> list[str]:
    known = list(runbook.parameters)
    mistakes = []
    for name in given:
        if name not in runbook.parameters:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"it has {', '.join(known) or 'none'}"
            mistakes.append(f'there is no parameter "{name}"; {hint}')
    return mistakes


def _missing(runbook: Runbook, given: Mapping[str, Any]) -> list[str]:
    return [
        f'"{name}" is missing; give it with -p {name}=...'
        for name, each in runbook.parameters.items()
        if each.is_required and name not in given
    ]


def _unfitting(runbook: Runbook, given: Mapping[str, Any]) -> list[str]:
    import jsonschema

    mistakes = []
    for name, parameter in runbook.parameters.items():
        if name in given:
            validator = jsonschema.Draft202012Validator(dict(parameter.schema))
            mistakes += [f'"{name}": {_mistake(parameter, error)}' for error in validator.iter_errors(given[name])]
    return mistakes


def _mistake(parameter: Parameter, error: ValidationError) -> str:
    """A message of jsonschema repeats the value; of a secret one only the rule is told."""
    return f'it does not fit its "{error.validator}"' if parameter.secret else error.message
