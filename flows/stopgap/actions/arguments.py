"""A step's rendered arguments become an action: strictly, and with every mistake named at once."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import json
import typing
from typing import TYPE_CHECKING, Any

import pydantic

from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from stopgap.actions.contract import Action


class ArgumentsError(StopgapError):
    """Arguments of an action are wrong; `faults` has one sentence for each."""

    def __init__(self, action: str, faults: tuple[str, ...]) -> None:
        self.faults = faults
        super().__init__(f'The action "{action}" cannot work with these arguments:\n' + "\n".join(f"  {fault}" for fault in faults))


@functools.cache
def model_of(action: type[Action]) -> type[pydantic.BaseModel]:
    """Return the pydantic model with the action's fields: no other keys, no conversion of types."""
    hints = typing.get_type_hints(action, include_extras=True)
    fields: dict[str, Any] = {field.name: (hints[field.name], _default(field)) for field in dataclasses.fields(action)}  # type: ignore[arg-type]  # checked at registration
    config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return pydantic.create_model(action.__name__, __config__=config, __doc__=inspect.getdoc(action), **fields)


def keys_of(action: type[Action]) -> tuple[str, ...]:
    """Return the keys that a step's `with:` may have, in the order of the fields."""
    return tuple(info.alias or name for name, info in model_of(action).model_fields.items())


def build(action: type[Action], arguments: Mapping[str, Any], *, defaults: Mapping[str, Any]) -> Action:
    """Make the action; ArgumentsError lists every wrong argument."""
    keys = keys_of(action)
    merged = {key: value for key, value in defaults.items() if key in keys} | dict(arguments)
    try:
        checked = model_of(action).model_validate(merged)
    except pydantic.ValidationError as error:
        faults = tuple(_fault(detail, keys) for detail in error.errors(include_url=False))
        raise ArgumentsError(action.name, faults) from error
    values = {field.name: getattr(checked, field.name) for field in dataclasses.fields(action)}  # type: ignore[arg-type]  # as above
    try:
        return action(**values)
    except ValueError as error:  # what only the arguments together can tell
        raise ArgumentsError(action.name, (str(error),)) from error


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return pydantic.Field(default_factory=field.default_factory)
    return ... if field.default is dataclasses.MISSING else field.default


def _fault(detail: ErrorDetails, keys: tuple[str, ...]) -> str:
    place = ".".join(str(part) for part in detail["loc"]) or "with"
    if detail["type"] == "missing":
        return f'"{place}" is missing'
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place, keys, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"it takes {', '.join(keys)}" if keys else "it takes no arguments"
        return f'"{place}" is not an argument of it; {hint}'
    message = detail["msg"].removeprefix("Value error, ")
    return f'"{place}": {message[0].lower()}{message[1:]}; found {_show(detail["input"])}'


def _show(value: Any) -> str:
    text = json.dumps(value, default=repr, ensure_ascii=False)
    longest = 80
    return text if len(text) <= longest else text[:longest] + "..."
