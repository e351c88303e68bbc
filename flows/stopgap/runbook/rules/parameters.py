"""Parameters: their schemas must make sense, their defaults must fit, triggers must give those that exist, and somebody must read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap import schema
from stopgap.runbook import expressions
from stopgap.runbook.rules import outline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import jsonschema_rs

    from stopgap.document import Document, KeyPath
    from stopgap.problems import Problem
    from stopgap.runbook.known import Known

_BOUNDS = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"))


def check(found: Document, known: Known) -> Iterator[Problem]:  # noqa: ARG001  every rule has this shape
    """Every parameter, and every trigger's parameters."""
    parameters = {name: value for name, value in outline.mapping(found.data, "parameters").items() if isinstance(value, dict)}
    read = expressions.references(found.data)
    for name, value in parameters.items():
        yield from _parameter(found, ("parameters", name), value)
        if "params" not in read and not any(one == f"params.{name}" or one.startswith(f"params.{name}.") for one in read):
            yield found.warning(("parameters", name), f'nothing reads the parameter "{name}"', "unused-parameter", at_key=True)
    for index, trigger in enumerate(outline.listed(found.data, "triggers")):
        if isinstance(trigger, dict):
            yield from _trigger(found, ("triggers", index), trigger, parameters)


def _parameter(found: Document, path: KeyPath, value: Mapping[str, Any]) -> Iterator[Problem]:
    for low, high in _BOUNDS:
        least, most = _number(value.get(low)), _number(value.get(high))
        if least is not None and most is not None and least > most:
            yield found.problem(
                (*path, low), f'"{low}" is larger than "{high}", so no value fits', "impossible-range", hint=f"{high} is {most}"
            )
    validator = _validator(value)
    if validator is None:
        if isinstance(value.get("pattern"), str):
            yield found.problem((*path, "pattern"), "this is not a regular expression", "bad-pattern")
    elif "default" in value:
        yield from schema.problems_of(found, (*path, "default"), value, validator.iter_errors(value["default"]))


def _trigger(found: Document, path: KeyPath, trigger: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[Problem]:
    given = outline.mapping(trigger, "parameters")
    for name, value in given.items():
        if name not in parameters:
            hint = schema.nearest(name, parameters) or (f"the parameters are {schema.listed(parameters, last='and')}" if parameters else "")
            yield found.problem((*path, "parameters", name), f'there is no parameter "{name}"', "unknown-parameter", hint=hint, at_key=True)
        elif not expressions.references(value) and "${{" not in str(value):
            validator = _validator(parameters[name])
            errors = validator.iter_errors(value) if validator else ()
            yield from schema.problems_of(found, (*path, "parameters", name), parameters[name], errors)
    for name, value in parameters.items():
        if "default" not in value and name not in given:
            hint = 'give it under this trigger\'s "parameters", or give it a default'
            yield found.problem(path, f'the parameter "{name}" must be given, and this trigger does not', "missing-parameter", hint=hint)


def _validator(value: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator | None:
    """Return a validator of one parameter, or None when its schema is not one."""
    import jsonschema_rs

    try:
        return schema.compiled({key: item for key, item in value.items() if key != "secret"})
    except (jsonschema_rs.ValidationError, ValueError):
        return None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
