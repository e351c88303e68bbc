"""`Plan`: what a run would change now, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Change, Target
    from stopgap.policy.model import PersonId, RoleName
    from stopgap.runbook.model import StepId


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """The gate before a step: which roles, who holds them, how many must approve, and why it asks."""

    roles: tuple[RoleName, ...]
    people: tuple[PersonId, ...]
    approvers: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step of a plan. Exactly one of `change`, `not_planned`, `refused` and `members` says what is known of it.

    A group has its steps as `members`, and a repeated step one for each entry of its list; `at_a_time` says how many run side by side.
    """

    id: StepId
    name: str
    uses: str
    arguments: Mapping[str, Any]
    effect: str
    undoes: str
    when: str = ""
    change: Change | None = None
    not_planned: str = ""  # it depends on what only the run will know
    refused: str = ""  # the step cannot run as things are
    targets: frozenset[Target] = frozenset()
    asks: Asks | None = None
    verify: str = ""
    members: tuple[PlannedStep, ...] = ()
    at_a_time: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole plan. It is a look, not a promise: every step is planned again right before it runs."""

    runbook: str
    parameters: Mapping[str, Any]
    steps: tuple[PlannedStep, ...]

    @property
    def is_refused(self) -> bool:
        """At least one step cannot run as things are."""
        return any(step.refused or any(member.refused for member in step.members) for step in self.steps)
