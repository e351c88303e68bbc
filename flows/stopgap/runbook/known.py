"""`Known`: what a runbook is checked against: the actions there are, the policy, and the day."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stopgap import schema
from stopgap.actions import foreign
from stopgap.clock import SystemClock
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    import jsonschema_rs

    from stopgap.policy.model import Policy


@dataclass(frozen=True)  # without slots, for the cached property
class ActionSchema:
    """What an action takes: what schemas/actions/NAME.schema.json says of it, for which its provider is not imported."""

    name: str
    schema: Mapping[str, Any]
    fault: str = ""  # why an action of another package cannot be used; its schema is empty then

    @cached_property
    def validator(self) -> jsonschema_rs.Draft202012Validator:
        """Checks arguments; made when it is first asked for."""
        return schema.compiled(self.schema)

    @property
    def fields(self) -> Mapping[str, Any]:
        """The arguments it takes, each with its schema."""
        return dict(self.schema.get("properties", {}))

    @property
    def required(self) -> frozenset[str]:
        """The arguments it cannot do without."""
        return frozenset(self.schema.get("required", ()))

    @property
    def outputs(self) -> Mapping[str, str]:
        """What later steps may read as `steps.<id>.output.<key>`."""
        return dict(self.schema.get("x-outputs", {}))

    @property
    def only_reads(self) -> bool:
        """It never changes anything."""
        return bool(self.schema.get("x-effect") == "reads")

    @property
    def cannot_undo(self) -> bool:
        """It changes something and has no way back."""
        return not self.only_reads and self.schema.get("x-undoes") == "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a runbook is checked against. `actions` None leaves actions unchecked, `policy` None whatever policy.yaml would say."""

    today: date = field(default_factory=lambda: SystemClock().now().date())
    actions: Mapping[str, ActionSchema] | None = None
    policy: Policy | None = None


class Actions(Mapping[str, ActionSchema]):
    """Action's name -> what it takes. A module of another package is imported only when one of its actions is asked for."""

    def __init__(self, ours: Mapping[str, ActionSchema]) -> None:
        self._found: dict[str, ActionSchema | None] = {**ours, **dict.fromkeys(foreign.actions())}

    def __getitem__(self, name: str) -> ActionSchema:
        """Return what an action takes; `fault` says why one of another package cannot be used."""
        found = self._found[name]
        if found is None:
            found = self._found[name] = _described(name)
        return found

    def __iter__(self) -> Iterator[str]:
        """Yield every name."""
        return iter(self._found)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._found)


def actions(folder: Path | None = None) -> Mapping[str, ActionSchema]:
    """Return ours, from the schemas in a folder (`schemas/actions` when none is given), and those of installed packages."""
    found = {}
    for path in sorted((folder or schema.folder() / "actions").glob("*.schema.json")):
        name = path.name.removesuffix(".schema.json")
        found[name] = ActionSchema(name, json.loads(path.read_bytes()))
    return Actions(found)


def _described(name: str) -> ActionSchema:
    from stopgap.actions import registry, schemas

    try:
        return ActionSchema(name, schemas.describe(registry.load(name)))
    except StopgapError as error:
        return ActionSchema(name, {}, fault=str(error))
