"""Incidents, runs and steps as values; each is folded from the timeline and kept nowhere else."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NewType

from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from stopgap.policy.model import Severity
    from stopgap.runbook.model import Status, StepId

IncidentId = NewType("IncidentId", str)  # INC-12, or DRILL-3 for a drill
RunId = NewType("RunId", str)  # INC-12.1: the first run on that incident


LATE = timedelta(minutes=30)  # a run that could not begin for so long is not begun any more, unless it was asked for otherwise


class Mode(enum.StrEnum):
    """Whether a run may change anything."""

    LIVE = "live"
    DRY = "dry"  # plans every branch, asks nobody
    DRILL = "drill"  # asks people for real, changes nothing


class Stage(enum.StrEnum):
    """How far an incident is; it may go back, when what was mitigated begins again."""

    DETECTED = "detected"
    ACKNOWLEDGED = "acknowledged"
    INVESTIGATING = "investigating"
    MITIGATING = "mitigating"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    REVIEWED = "reviewed"


class RunEnd(enum.StrEnum):
    """How a run ended."""

    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An incident as far as its entries say."""

    id: IncidentId
    title: str
    severity: Severity
    opened_at: datetime
    opened_by: str
    stage: Stage = Stage.DETECTED
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    mitigated_at: datetime | None = None
    resolved_at: datetime | None = None
    firing: frozenset[tuple[str, str]] = frozenset()  # the alerts (source and key) that began in it and are not over
    began_at: datetime | None = None  # since when the first alert fires, by its source's clock
    restricted: bool = False  # for the roles that policy names alone
    reopened: int = 0  # how often an alert fired again after it was resolved
    reopened_at: datetime | None = None

    @property
    def is_drill(self) -> bool:
        """Nothing that happens on a drill's chain happened to a system."""
        return self.id.startswith("DRILL-")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """What the journal says of one step of one run.

    `change` is what step.started recorded; `attempt` is the newest attempt's number, and `is_started` holds from step.started until something says
    what became of it. `applied` means: the effect happened, and what is left is to verify. `ends` says that the answer at the gate ends the run too.
    """

    id: StepId
    attempt: int = 0
    excused: int = 0  # attempts that do not count against `retry`: a conflict, a crash after which the effect was not there
    change: Mapping[str, Any] | None = None
    to_undo: Mapping[str, Any] | None = None  # the change of the first attempt that had something to change
    uses: str = ""
    run: RunId = RunId("")  # the run that it is, when it is one of its own
    is_started: bool = False
    started_at: datetime | None = None
    applied: str = ""
    output: Mapping[str, Any] = field(default_factory=dict)
    status: Status | None = None
    text: str = ""
    ends: Literal["", "stop", "undo"] = ""
    undone: bool = False
    entries: tuple[Any, ...] | None = None  # the list a `for_each` gave, once it was rendered

    @property
    def is_begun(self) -> bool:
        """An attempt was started, and nothing says how the step ended."""
        return self.is_started and self.status is None

    @property
    def is_in_doubt(self) -> bool:
        """Its effect may have been sent, and nothing says what became of it."""
        return self.is_started and self.status is None and not self.applied


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run: what was asked for, by whom, and how far it is."""

    id: RunId
    incident: IncidentId
    runbook: str
    digest: str
    mode: Mode
    parameters: Mapping[str, Any]
    starter: str  # a person's id, "stopgap" for a trigger, empty when it was started in the Prefect UI: nobody knows who
    requested_at: datetime
    key: str  # the same however often this run is asked for, and of no other run anywhere
    expires: timedelta = LATE  # a run that could not begin within this is not begun any more
    given: Mapping[str, str] = field(default_factory=dict)  # a drill's assumed outcomes, by step
    scenario: str = ""  # the drill's name
    undoes: RunId = RunId("")  # the ended run whose changes this one takes back; empty for a run of a runbook's steps
    within: RunId = RunId("")  # the run one of whose steps this is
    only: str = ""  # of those changes, this step's alone
    alert: Mapping[str, Any] | None = None  # the entry that accepted the alert which asked for it, and which of its alerts
    proposed: str = ""  # why a person must agree before it begins
    flow_run: str = ""  # Prefect's id, once there is one
    aborted_by: str = ""
    locks: frozenset[str] = frozenset()  # the targets it holds, as far as its entries say
    steps: Mapping[StepId, StepRecord] = field(default_factory=dict)
    end: RunEnd | None = None
    ended_at: datetime | None = None

    def draft(  # noqa: PLR0913  an entry's parts
        self, kind: str, text: str, *, key: str = "", step: str = "", actor: str = "stopgap", data: Mapping[str, Any] | None = None
    ) -> Draft:
        """Return an entry about this run, to be appended to its incident's chain."""
        return Draft(
            chain=self.incident, incident=self.incident, run=self.id, step=step, kind=kind, actor=actor, text=text, key=key, data=data or {}
        )
