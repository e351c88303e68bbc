"""Finds an action by its name and builds it from a step's arguments.

Names come from the catalogue and from the entry point group `stopgap.actions` of installed packages (name = "package.module:Class").
Only the provider asked for is imported; its class is checked against the contract when it is.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from stopgap.actions import arguments as arguments_of
from stopgap.actions import foreign
from stopgap.actions.catalogue import ACTIONS, Place
from stopgap.actions.checks import faults_of
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Action


class UnknownActionError(StopgapError):
    """No action has this name."""


class MissingExtraError(StopgapError):
    """The action needs a library that is not installed."""


class BrokenActionError(StopgapError):
    """An action does not keep the contract, or has a name that another one has."""


def names() -> tuple[str, ...]:
    """Every action's name, sorted."""
    return tuple(sorted({*ACTIONS, *foreign.actions()}))


def find(name: str) -> type[Action]:
    """Return the action's class, ready to work; UnknownActionError, MissingExtraError or BrokenActionError say what is wrong."""
    place = _place(name)
    if place.library and importlib.util.find_spec(place.library) is None:
        raise MissingExtraError(
            f'The action "{name}" needs the library {place.library}, which is not installed.\nInstall it:  pip install "stopgap[{place.extra}]"'
        )
    return load(name)


@functools.cache
def load(name: str) -> type[Action]:
    """Return the action's class, checked against the contract, even if its library is missing: enough to describe it."""
    place = _place(name)
    try:
        found = getattr(importlib.import_module(place.module), place.name, None)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f'The action "{name}" needs the module {error.name}, which is not installed.') from error
    except Exception as error:  # another package's module may raise anything when it is imported
        raise BrokenActionError(
            f'The action "{name}" ({place.module}:{place.name}) cannot be imported: {type(error).__name__}: {error}'
        ) from error
    faults = faults_of(found, name)
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise BrokenActionError(f'The action "{name}" ({place.module}:{place.name}) does not keep the contract:\n{listed}')
    action: type[Action] = found  # type: ignore[assignment]  # faults_of has just checked it
    return action


def build(name: str, arguments: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None) -> Action:
    """Make the action from rendered arguments, strictly checked; `defaults` fill fields that it has and the step does not name.

    Raises ArgumentsError, which lists every wrong argument.
    """
    return arguments_of.build(find(name), arguments, defaults=defaults or {})


def _place(name: str) -> Place:
    own, others = ACTIONS.get(name), foreign.actions().get(name, ())
    found = [*([own] if own else []), *(each.place for each in others)]
    if not found:
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f' Did you mean "{near[0]}"?' if near else ""
        raise UnknownActionError(f'There is no action "{name}".{hint} The actions are {", ".join(names())}.')
    if len(found) > 1:
        sources = [*([f"stopgap itself ({own.module}:{own.name})"] if own else []), *map(str, others)]
        raise BrokenActionError(
            f'There are {len(found)} actions named "{name}": {" and ".join(sources)}.\nUninstall one of the packages, or rename its action.'
        )
    return found[0]
