"""`Runbook`: what a runbook file says, validated. Nothing downstream reads YAML."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NewType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, timedelta
    from pathlib import Path

    from stopgap.policy.model import Escalation, RoleName, Severity
    from stopgap.problems import Position

StepId = NewType("StepId", str)
Expression = NewType("Expression", str)  # CEL, without its ${{ }}
OnFailure = Literal["stop", "continue", "rollback"]


class Status(enum.StrEnum):
    """How a step ended. Only DONE means done."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An action and its arguments as written: values may hold `${{ }}` in any place. `bound` are names that only this call may read: `item`."""

    uses: str
    arguments: Mapping[str, Any]
    position: Position
    bound: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a step is tried again after a temporary error, and how long between."""

    attempts: int
    delay: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """A gate before a step: any of `by` may decide, `approvers` different people must approve."""

    by: tuple[RoleName, ...]
    approvers: int = 1
    expires: timedelta | None = None  # policy's when None
    escalate: Escalation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """`for_each`: one step repeated over a list."""

    items: Any
    max_in_flight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `call` is None for a `parallel` group, whose members are in `parallel`."""

    id: StepId
    name: str
    position: Position
    call: Call | None = None
    when: Expression | None = None
    timeout: timedelta | None = None
    retry: Retry | None = None
    verify: Call | None = None
    verify_timeout: timedelta | None = None
    approval: ApprovalRequest | None = None
    on_failure: OnFailure = "stop"
    for_each: Loop | None = None
    parallel: tuple[Step, ...] = ()

    @property
    def has_members(self) -> bool:
        """It is a group, or repeated over a list: others are carried out in its place."""
        return bool(self.parallel) or self.for_each is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter: its JSON Schema as written. `secret` values never reach the timeline."""

    name: str
    schema: Mapping[str, Any]
    secret: bool = False

    @property
    def is_required(self) -> bool:
        """A parameter without a default must be given."""
        return "default" not in self.schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Which alerts start the runbook."""

    source: str
    match: Mapping[str, str] = field(default_factory=dict)
    when: Expression | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    mode: Literal["start", "propose"] = "start"
    cooldown: timedelta | None = None
    expires: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """A whole runbook. `digest` is the SHA-256 of the file's bytes, in hexadecimal."""

    name: str
    title: str
    description: str
    owner: str
    severity: Severity
    path: Path
    digest: str
    steps: tuple[Step, ...]
    reviewed: date | None = None
    review_every: timedelta | None = None
    archived: bool = False
    superseded_by: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)  # merged under each step's `with:` where the action has such a field
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    triggers: tuple[Trigger, ...] = ()


def own_step(name: str) -> str:
    """Return the step of the runbook that a name belongs to: `restart` for `restart[0]`, an entry of its list, and `inner` for `inner.restart`, a step of the runbook that it runs."""
    return name.partition(".")[0].partition("[")[0]
