"""`Policy`: what policy.yaml says, validated."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, NewType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from stopgap.policy.alerting import AlertRules
    from stopgap.policy.around import Around
    from stopgap.policy.incidents import IncidentRules, OnCall

PersonId = NewType("PersonId", str)
RoleName = NewType("RoleName", str)
ClusterName = NewType("ClusterName", str)
AccountName = NewType("AccountName", str)


class Severity(enum.StrEnum):
    """How bad an incident is; SEV1 is the worst."""

    SEV1 = "SEV1"
    SEV2 = "SEV2"
    SEV3 = "SEV3"
    SEV4 = "SEV4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who may hold a role.

    `contact` is how a human reaches them (mail, telephone); free text. `notify` is where stopgap tells them something, `page` where it wakes
    them; see `notices.addresses`.
    """

    id: PersonId
    name: str
    contact: str = ""
    notify: tuple[str, ...] = field(default=(), repr=False)
    page: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role and who may hold it; deputies count like holders."""

    name: RoleName
    holders: tuple[PersonId, ...] = ()
    deputies: tuple[PersonId, ...] = ()

    @property
    def people(self) -> tuple[PersonId, ...]:
        """Holders first, then deputies."""
        return self.holders + self.deputies


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A Kubernetes cluster under the name runbooks use.

    Exactly one of: `kubeconfig` with `context`, or `in_cluster`. `read_only` is a kubeconfig for dry runs and drills, if there is one.
    A kubeconfig's own current context is never used.
    """

    name: ClusterName
    kubeconfig: Path | None = None
    context: str = ""
    read_only: Path | None = None
    in_cluster: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An AWS account in one region, under the name runbooks use.

    `id` is the account's number: credentials of another account are refused. `profile` is one of the AWS configuration, empty for the
    machine's own credentials; `role` is assumed with them. `read_only` is the profile of dry runs and drills, if there is one.
    """

    name: AccountName
    id: str
    region: str
    profile: str = ""
    role: str = ""
    read_only: str = ""
    config: Path | None = None
    credentials: Path | None = None
    endpoint_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """An nginx: the file that holds its upstreams, and the commands that test and reload its configuration."""

    file: Path
    test: tuple[str, ...] = ("nginx", "-t")
    reload: tuple[str, ...] = ("nginx", "-s", "reload")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRules:
    """Where HTTP actions may go. `hosts` are the only ones at which `http.request` may change something; None means any.

    `addresses` are link-local and metadata addresses, or networks of them, that may be reached all the same.
    """

    hosts: tuple[str, ...] | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A time in which no step may change anything, but by the actions in `allowed`."""

    begins: datetime
    ends: datetime
    reason: str
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a step may go. None means: no limit of that kind.

    `namespaces` and the other lists of places are the only ones in which a step may change anything. `max_shift` is in percent of the traffic.
    """

    namespaces: tuple[str, ...] | None = None
    nodes: tuple[str, ...] | None = None
    clusters: tuple[str, ...] | None = None
    accounts: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    max_replicas: int | None = None
    max_shift: float | None = None
    steps_per_hour: int | None = None
    freezes: tuple[Freeze, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """Whom to ask as well when nobody has decided for so long."""

    after: timedelta
    to: RoleName


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass:
    """Who may approve alone when a question stood unanswered for so long."""

    people: tuple[PersonId, ...]
    after: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRules:
    """What holds for every gate. `high_risk` lists the roles asked when policy asks and the step names nobody.

    `asks` says which gates are asked at all. `approvers` is how many must approve at the least. `escalate` is for gates whose step does not
    say. `require_code`: a decision counts only with a valid one-time code of the person it names.
    """

    asks: Literal["every-change", "risky", "written", "nothing"] = "risky"
    high_risk: tuple[RoleName, ...] = (RoleName("incident-commander"),)
    approvers: int = 1
    expires: timedelta = timedelta(minutes=15)
    escalate: tuple[Escalation, ...] = ()
    allow_self: bool = False
    require_code: bool = True
    break_glass: BreakGlass | None = None


class Event(enum.StrEnum):
    """What people are told of."""

    ASK = "ask"
    REMIND = "remind"
    ESCALATE = "escalate"
    VOID = "void"
    DECIDE = "decide"
    BREAK_GLASS = "break-glass"
    ROLE = "role"
    ENROL = "enrol"
    WRONG_CODE = "wrong-code"
    INCIDENT = "incident"
    UPDATE = "update"
    UPDATE_DUE = "update-due"
    PAGE = "page"
    CHECKPOINT = "checkpoint"
    TASK = "task"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where a team is told something. `url` may be a secret, or name where one is; see `notices.addresses`.

    A public channel is told public updates and nothing else; a restricted one is told of restricted incidents too. Of incidents of other
    `severities` it is told nothing.
    """

    name: str
    url: str = field(repr=False)
    events: frozenset[Event] = frozenset(Event)
    audience: Literal["internal", "public"] = "internal"
    restricted: bool = False
    severities: frozenset[Severity] = frozenset(Severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRules:
    """How long a run waits for a target that another run holds before it fails; zero fails at once."""

    wait: timedelta = timedelta(minutes=10)


def _incident_rules() -> IncidentRules:
    from stopgap.policy.incidents import IncidentRules

    return IncidentRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything policy.yaml says. `path` is the file it came from; relative kubeconfig paths are relative to its folder."""

    people: Mapping[PersonId, Person] = field(default_factory=dict)
    teams: Mapping[str, tuple[PersonId, ...]] = field(default_factory=dict)
    roles: Mapping[RoleName, Role] = field(default_factory=dict)
    clusters: Mapping[ClusterName, Cluster] = field(default_factory=dict)
    accounts: Mapping[AccountName, Account] = field(default_factory=dict)
    prometheus: Mapping[str, str] = field(default_factory=dict)  # name -> base URL; "default" is used when a step names none
    haproxy: Mapping[str, str] = field(default_factory=dict)  # name -> a path or host:port of its runtime socket
    nginx: Mapping[str, Nginx] = field(default_factory=dict)
    around: Around = field(default_factory=dict)  # trackers, status pages, bridges, logs, traces and metrics, each by its name
    http: HttpRules = field(default_factory=HttpRules)
    commands: tuple[tuple[str, ...], ...] = ()  # what `command.run` may start: a program's path, and a pattern for each argument
    limits: Limits = field(default_factory=Limits)
    approvals: ApprovalRules = field(default_factory=ApprovalRules)
    by_severity: Mapping[Severity, ApprovalRules] = field(default_factory=dict)  # in place of `approvals`, and as complete
    channels: tuple[Channel, ...] = ()
    locks: LockRules = field(default_factory=LockRules)
    alerts: AlertRules | None = None  # None: nobody may send any
    incidents: IncidentRules = field(default_factory=_incident_rules)
    on_call: Mapping[RoleName, OnCall] = field(default_factory=dict)
    administrators: tuple[PersonId, ...] = ()  # whose one-time codes let others be enrolled and revoked
    path: Path | None = None

    def rules(self, severity: Severity) -> ApprovalRules:
        """What holds for the gates of an incident of this severity."""
        return self.by_severity.get(severity, self.approvals)

    def holders(self, role: RoleName) -> tuple[PersonId, ...]:
        """Who may act as this role, holders before deputies; empty for a role policy does not know."""
        found = self.roles.get(role)
        return found.people if found else ()
