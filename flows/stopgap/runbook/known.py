"""`Known`: what a runbook is checked against: the actions there are, the policy, and the day."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stopgap import schema
from stopgap.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    import jsonschema_rs

    from stopgap.policy.model import Policy


@dataclass(frozen=True)  # without slots, for the cached property
class ActionSchema:
    """What schemas/actions/NAME.schema.json says of an action; its provider is not imported."""

    name: str
    schema: Mapping[str, Any]

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


def actions(folder: Path | None = None) -> dict[str, ActionSchema]:
    """Read the actions' schemas from a folder, `schemas/actions` when none is given."""
    place = folder or schema.folder() / "actions"
    found = {}
    for path in sorted(place.glob("*.schema.json")):
        name = path.name.removesuffix(".schema.json")
        found[name] = ActionSchema(name, json.loads(path.read_bytes()))
    return found
