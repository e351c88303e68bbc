"""The form in which a person starts a runbook in Prefect's UI: its parameters as JSON Schema, and as the signature of its flow."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.runbook.model import Parameter, Runbook

RUN = "stopgap_run"
_RUN_FIELD = {
    "type": "string",
    "title": "Run on the timeline",
    "description": "Leave empty. stopgap fills it in when it starts a run by itself; the parameters are then read from the timeline.",
}


def schema(runbook: Runbook) -> dict[str, Any]:
    """Return the JSON Schema of a runbook's parameters: in the runbook's order, each with a title, and nothing else allowed."""
    fields = {name: _field(parameter, place) for place, (name, parameter) in enumerate(runbook.parameters.items())}
    return {
        "type": "object",
        "title": "Parameters",
        "properties": {**fields, RUN: {**_RUN_FIELD, "position": len(fields)}},
        "required": [name for name, parameter in runbook.parameters.items() if parameter.is_required],
        "additionalProperties": False,
    }


def signature(runbook: Runbook) -> inspect.Signature:
    """Return the same as a signature, from which `prefect deploy` makes a form by itself.

    Every parameter may be missing there: a run that stopgap starts carries `stopgap_run` alone. The flow checks parameters again.
    """
    fields = [_argument(parameter, schema(runbook)["properties"][name]) for name, parameter in runbook.parameters.items()]
    run = inspect.Parameter(RUN, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_typed(_RUN_FIELD))
    return inspect.Signature([*fields, run])


def _field(parameter: Parameter, place: int) -> dict[str, Any]:
    return {"title": parameter.name, **parameter.schema, "position": place}


def _argument(parameter: Parameter, spec: Mapping[str, Any]) -> inspect.Parameter:
    return inspect.Parameter(
        parameter.name, inspect.Parameter.KEYWORD_ONLY, default=parameter.schema.get("default"), annotation=_typed(spec)
    )


def _typed(spec: Mapping[str, Any]) -> Any:
    """Carry a JSON Schema through pydantic as it is; pydantic itself then takes any value."""
    import pydantic

    return Annotated[Any, pydantic.WithJsonSchema(dict(spec))]
