"""Checks a class against the contract of an action, when it registers and not when it is needed at night."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

_ALLOWED: Mapping[str, tuple[Any, ...]] = {
    "effect": ("reads", "changes"),
    "risk": ("low", "high"),
    "undoes": ("yes", "no", "depends"),
    "waits": (False, True),
    "confirms": (False, True),
}
_TYPES: Mapping[str, type] = {"default_timeout": timedelta, "permissions": Mapping, "outputs": Mapping}
_METHODS = ("targets", "plan", "apply", "probe", "undo")


def faults_of(found: Any, name: str) -> tuple[str, ...]:
    """Say in sentences what is wrong with the class that should be the action `name`; empty when it keeps the contract."""
    if not isinstance(found, type):
        return (f"it is {found!r}; a class is needed",)
    return (*_shape(found), *_values(found, name), *_calls(found))


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
    for key, allowed in _ALLOWED.items():
        value = getattr(found, key, None)
        if value not in allowed or isinstance(value, bool) != isinstance(allowed[0], bool):
            faults.append(f"its `{key}` is {value!r}; allowed is {' or '.join(map(repr, allowed))}")
    for key, kind in _TYPES.items():
        if not isinstance(getattr(found, key, None), kind):
            faults.append(f"its `{key}` is {getattr(found, key, None)!r}; a {kind.__name__} is needed")
    if getattr(found, "effect", None) == "reads" and getattr(found, "undoes", None) != "no":
        faults.append("it only reads and says that it can be undone; `undoes` must be 'no'")
    return faults


def _calls(found: type) -> list[str]:
    return [f"it has no method `{method}`" for method in _METHODS if not callable(getattr(found, method, None))]
