"""The contract of an action: what a step can do, in five calls that the engine makes in a fixed order.

    plan   reads the live state and returns a `Change`; it never changes anything
    apply  carries the change out and returns only when it is done (the rollout, not the request) or raises
    probe  tells, for a step in doubt, whether our effect happened
    undo   names the action that takes the change back, or None

An action is a frozen dataclass whose fields are the step's `with:`. It fails in three ways and no other: `TemporaryError` (nothing was
sent, or the system refused it; trying again may help), `PermanentError` (trying again will not help), `InDoubtError` (the request may
have left, and nobody knows what became of it). Anything else that escapes is a bug in the action, and the engine says so.
"""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NewType, Protocol, Self, TypeVar, dataclass_transform, runtime_checkable

from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from stopgap.clock import Clock
    from stopgap.policy.model import Policy

LONGEST_CALL = timedelta(seconds=30)  # the longest that one request that may change something takes
Target = NewType("Target", str)  # kubernetes/prod/shop/deployment/checkout
Effect = Literal["reads", "changes"]
Risk = Literal["low", "high"]
Undoes = Literal["yes", "no", "depends"]
Checked = Literal["server", "predicted", "unchecked"]
_Class = TypeVar("_Class")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def action(cls: type[_Class]) -> type[_Class]:
    """Make a class an action's frozen dataclass; its fields are the step's `with:`, their types are evaluated at run time."""
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


class TemporaryError(StopgapError):
    """The system did not take the request; trying again may help."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(StopgapError):
    """The system refused, and would refuse again."""


class ConflictError(TemporaryError):
    """The object changed between our read and our write: nothing was written. The engine plans and compares again."""


class InDoubtError(StopgapError):
    """The request may have left, and its outcome is unknown; the engine probes before it does anything else."""


class Probe(enum.StrEnum):
    """What became of an effect that was started and not finished."""

    DONE = "done"
    IN_PROGRESS = "in_progress"  # wait, send nothing
    NOT_DONE = "not_done"  # our effect is not there: it may be tried again
    UNKNOWN = "unknown"  # only a human can tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a step would change, from one read of the live state.

    `now` and `after` are what the incident commander sees side by side: the same flat keys, JSON values, no secrets, nothing that moves by
    itself (no resourceVersion, no status). `material` is that part of now on which the decision rests; when it moves, an approval is void.
    `undo` is what the undo will need: the system's own names (a revision, an ARN), never secrets. `precondition` is the system's own token
    of this read (resourceVersion); it is sent with the effect and is no part of the digest. `notes` are warnings for the human
    ("owned by the HPA web: its minimum moves instead"). `measures` are the numbers that policy's limits look at: `replicas` (how many
    there will be at most: Pods, tasks, instances) and `shift` (the largest part of the traffic that moves, in percent).
    """

    summary: str  # one line: "checkout: 3 -> 9 replicas"
    now: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    material: Mapping[str, Any] = field(default_factory=dict)
    checked: Checked = "predicted"
    undo: Mapping[str, Any] = field(default_factory=dict)
    precondition: str = ""
    notes: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Nothing would change; the step still waits and verifies."""
        return dict(self.now) == dict(self.after)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what will be and what of now is material."""
        text = json.dumps({"after": self.after, "material": self.material}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """As a JSON object for the timeline; `from_json` reads it back."""
        return {
            "summary": self.summary,
            "now": dict(self.now),
            "after": dict(self.after),
            "material": dict(self.material),
            "checked": self.checked,
            "undo": dict(self.undo),
            "precondition": self.precondition,
            "notes": list(self.notes),
            "measures": dict(self.measures),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**data, "notes": tuple(data.get("notes", ()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an action did. `data` is JSON that later steps may read as `steps.<id>.output.<key>`."""

    changed: bool
    summary: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where and for whom an action works.

    `mode` "dry" means: the guard of every client refuses what could change anything. `deadline` is the moment (UTC) at which every call
    must have returned. `mark` names run, step and attempt (`INC-12.1/scale/1`); an effect carries it, so that `probe` tells ours from others'.
    `origin` gives what tells this incident from one of the same number on another timeline; what outlives a timeline (a ticket) carries it as well.
    """

    policy: Policy
    clock: Clock
    deadline: datetime
    mark: str
    mode: Literal["live", "dry"] = "live"
    ends: float | None = None  # the deadline by the clock's `monotonic`: a clock that is set back or forth makes no call longer or shorter
    preview: Callable[[str, Mapping[str, Any]], Change] | None = None  # what a run of another runbook with these parameters would change
    permit: Callable[[float], float] = float  # of the seconds a request wants, how many it may take; raises when nothing may be sent
    origin: Callable[[], str] = str

    @property
    def is_dry(self) -> bool:
        """Nothing may change."""
        return self.mode == "dry"

    def seconds_left(self) -> float:
        """Seconds until the deadline, never negative."""
        left = (self.deadline - self.clock.now()).total_seconds() if self.ends is None else self.ends - self.clock.monotonic()
        return max(0.0, left)

    def sending(self, wanted: float = LONGEST_CALL.total_seconds()) -> float:
        """Call right before a request leaves that may change something; returns how many seconds it may take, at most those wanted.

        TemporaryError when nothing may be sent because the deadline has passed; LeaveRunError when this process cannot show that the run is
        still its own, which an action lets pass.
        """
        left = self.seconds_left()
        if left <= 0:
            raise TemporaryError("The step's deadline has passed; nothing was sent.")
        return self.permit(min(wanted, left))


@runtime_checkable
class Action(Protocol):
    """One thing a step can do. Class variables are checked when the action registers.

    `waits` marks an action that only waits for a condition: a dry run reads it once and says `not_checked`. `permissions` are the system's
    own words for what its calls need, its undo included: `{"kubernetes": [{"apiGroups": [...], "resources": [...], "verbs": [...]}]}`,
    `{"aws": ["ecs:UpdateService"]}`; all their shapes are in `stopgap.actions.permissions`.
    `outputs` names the keys of `Outcome.data` with a sentence each; expressions may read no others. `default_timeout` holds when the step names none.
    `confirms` marks an action that a human carries out: the engine asks at a gate whether it is done, and never calls it done by itself.
    """

    name: ClassVar[str]  # "kubernetes.scale"
    effect: ClassVar[Effect]
    risk: ClassVar[Risk]
    undoes: ClassVar[Undoes]
    waits: ClassVar[bool]
    confirms: ClassVar[bool]
    default_timeout: ClassVar[timedelta]
    permissions: ClassVar[Mapping[str, Any]]
    outputs: ClassVar[Mapping[str, str]]

    def targets(self) -> frozenset[Target]:
        """What it works on; two runs never work on one target at once."""

    def plan(self, context: Context) -> Change:
        """Read the live state and say what would change. Changes nothing."""

    def apply(self, context: Context, change: Change) -> Outcome:
        """Carry it out, with `change.precondition`, and wait until it is done or the deadline passes."""

    def probe(self, context: Context, change: Change) -> Probe:
        """Say what became of `apply(change)` under `context.mark`."""

    def undo(self, change: Change) -> Action | None:
        """Return the action that takes this change back, or None when there is none."""
