"""Checks a class against the contract of an action, when it registers and not when it is needed at night."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from stopgap.actions import arguments, permissions

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_ALLOWED: Mapping[str, tuple[Any, ...]] = {
    "effect": ("reads", "changes"),
    "risk": ("low", "high"),
    "undoes": ("yes", "no", "depends"),
    "waits": (False, True),
    "confirms": (False, True),
}
_TYPES: Mapping[str, type] = {"default_timeout": timedelta, "permissions": Mapping, "outputs": Mapping}
_CALLS: Mapping[str, tuple[str, ...]] = {
    "targets": (),
    "plan": ("context",),
    "apply": ("context", "change"),
    "probe": ("context", "change"),
    "undo": ("change",),
}


def faults_of(found: Any, name: str) -> tuple[str, ...]:
    """Say in sentences what is wrong with the class that should be the action `name`; empty when it keeps the contract."""
    if not isinstance(found, type):
        return (f"it is {found!r}; a class is needed",)
    faults = (*_shape(found), *_values(found, name), *_calls(found))
    return faults or tuple(_fields(found))


def _shape(found: type) -> list[str]:
    faults = []
    if not dataclasses.is_dataclass(found) or not found.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # typeshed hides it
        faults.append("it is no frozen dataclass; decorate it with stopgap.actions.contract.action")
    elif (found.__doc__ or "").startswith(f"{found.__name__}("):
        faults.append("it has no docstring; the incident commander reads it at the gate")
    if not (found.__doc__ or "").strip():
        faults.append("it has no docstring; the incident commander reads it at the gate")
    return faults


def _values(found: type, name: str) -> list[str]:
    faults = [] if getattr(found, "name", None) == name else [f"its `name` is {getattr(found, 'name', None)!r}; {name!r} is needed"]
    if not NAME.fullmatch(name):
        faults.append(f"{name!r} is no name of an action; use small letters, digits, underscores and dots, like queue.purge")
    for key, allowed in _ALLOWED.items():
        value = getattr(found, key, None)
        if value not in allowed or isinstance(value, bool) != isinstance(allowed[0], bool):
            faults.append(f"its `{key}` is {value!r}; allowed is {' or '.join(map(repr, allowed))}")
    for key, kind in _TYPES.items():
        if not isinstance(getattr(found, key, None), kind):
            faults.append(f"its `{key}` is {getattr(found, key, None)!r}; a {kind.__name__} is needed")
    return faults or list(_sense(found))


def _sense(found: Any) -> Iterator[str]:
    if found.effect == "reads" and found.undoes != "no":
        yield "it only reads and says that it can be undone; `undoes` must be 'no'"
    if found.effect == "changes" and found.waits:
        yield "it changes something and says that it only waits; `waits` must be False"
    if found.default_timeout <= timedelta(0):
        yield f"its `default_timeout` is {found.default_timeout}; a time longer than nothing is needed"
    for key, text in found.outputs.items():
        if not isinstance(text, str) or not text:
            yield f"its output {key!r} has no sentence that says what it is"


def _calls(found: type) -> Iterator[str]:
    for call, wanted in _CALLS.items():
        method = getattr(found, call, None)
        if not callable(method):
            yield f"it has no method `{call}`"
            continue
        takes = tuple(inspect.signature(method).parameters)[1:]
        if takes != wanted:
            yield f"its `{call}` takes ({', '.join(takes)}); ({', '.join(wanted)}) is needed"


def _fields(found: Any) -> Iterator[str]:
    try:
        properties = arguments.model_of(found).model_json_schema(by_alias=True).get("properties", {})
    except Exception as error:  # noqa: BLE001  pydantic raises many kinds for types that it cannot check
        yield f"the types of its fields cannot be checked: {str(error).splitlines()[0]}"
        return
    for key, schema in properties.items():
        if not schema.get("description"):
            yield f"its field {key!r} has no description; write Annotated[type, Field(description=...)]"
    yield from permissions.faults(found.permissions, tuple(properties))
