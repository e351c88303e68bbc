"""What policy.yaml says of incidents: who may read the page, how often an update is due, who is paged, who is on call, who sees what is restricted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from stopgap import schema
from stopgap.clock import parse_duration
from stopgap.policy.alerting import Secret, read_secret
from stopgap.policy.model import PersonId, RoleName, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from stopgap.document import Document, KeyPath
    from stopgap.problems import Problem

UPDATES = {Severity.SEV1: timedelta(minutes=30), Severity.SEV2: timedelta(hours=1), Severity.SEV3: timedelta(hours=4)}
CHECKPOINTS = {Severity.SEV1: timedelta(minutes=15), Severity.SEV2: timedelta(minutes=30)}
COMMUNICATIONS = RoleName("communications-lead")
_NEVER = "never"
_SHORTEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who may read the incident pages: a name and a secret. `roles` are those for which restricted incidents are shown."""

    name: str
    secret: Secret
    roles: tuple[RoleName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Instead:
    """Somebody is on call in place of whoever the rotation names, for a time."""

    person: PersonId
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OnCall:
    """Who is on call for a role: `people` one after the other, each for `every`, from `starts` on. `page` are addresses of services that page."""

    people: tuple[PersonId, ...] = ()
    starts: datetime | None = None
    every: timedelta = timedelta(days=7)
    instead: tuple[Instead, ...] = ()
    page: tuple[str, ...] = field(default=(), repr=False)

    def at(self, now: datetime) -> PersonId | None:
        """Return who is on call at this moment; None when nobody is, or before the rotation starts."""
        for each in self.instead:
            if each.begins <= now < each.ends:
                return each.person
        if not self.people or self.starts is None or now < self.starts:
            return None
        return self.people[(now - self.starts) // self.every % len(self.people)]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRules:
    """What holds for incidents.

    `url` is where people reach the pages; links in notices begin with it. `updates` and `checkpoints`: how often, by severity; none where it
    names no time. `pages`: the roles paged by themselves. `restricted` are the roles for which restricted incidents are shown, `restricts` the
    labels of alerts whose incidents are restricted from the start.
    """

    url: str = ""
    readers: Mapping[str, Reader] = field(default_factory=dict)
    updates: Mapping[Severity, timedelta] = field(default_factory=lambda: UPDATES)
    checkpoints: Mapping[Severity, timedelta] = field(default_factory=lambda: CHECKPOINTS)
    communications: RoleName = COMMUNICATIONS
    pages: Mapping[Severity, tuple[RoleName, ...]] = field(default_factory=dict)
    page_every: timedelta = timedelta(minutes=5)
    restricted: tuple[RoleName, ...] = (RoleName("incident-commander"),)
    restricts: Mapping[str, str] = field(default_factory=dict)


def read(data: Mapping[str, Any], policy: Path) -> IncidentRules:
    """Reshape the `incidents` of a checked policy; relative files are relative to its folder."""
    plain, page, restricted = IncidentRules(), data.get("page", {}), data.get("restricted", {})
    return IncidentRules(
        url=data.get("url", "").rstrip("/"),
        readers={name: _reader(name, value, policy) for name, value in data.get("readers", {}).items()},
        updates=_times(UPDATES, data.get("updates", {})),
        checkpoints=_times(CHECKPOINTS, data.get("checkpoints", {})),
        communications=RoleName(data.get("communications", plain.communications)),
        pages={Severity(name): tuple(map(RoleName, page[name])) for name in Severity if name in page},
        page_every=parse_duration(page["every"]) if "every" in page else plain.page_every,
        restricted=tuple(map(RoleName, restricted["roles"])) if "roles" in restricted else plain.restricted,
        restricts=dict(restricted.get("match", {})),
    )


def on_call(data: Mapping[str, Any]) -> Mapping[RoleName, OnCall]:
    """Reshape `on_call`."""
    return {RoleName(name): _on_call(value) for name, value in data.items()}


def problems(found: Document) -> Iterator[Problem]:
    """Yield the roles that are not there, and the moments that are none."""
    roles = found.data["roles"]
    for path, role in _named_roles(found.data):
        if role not in roles:
            hint = schema.nearest(role, roles) or f"the roles are {schema.listed(roles, last='and')}"
            yield found.problem(path, f'there is no role "{role}"', "unknown-role", hint=hint)
    for path, text in _moments(found.data):
        if (moment := _moment(text)) is None or moment.tzinfo is None:
            yield found.problem(path, f'"{text}" is no moment', "bad-date", hint="write it like 2026-11-02T09:00:00Z")
    for path, text in _often(found.data):
        if text != _NEVER and parse_duration(text) < _SHORTEST:
            yield found.problem(path, f"every {text} is too often", "too-often", hint="a minute is the shortest")


def named_people(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield everybody named here."""
    for role, value in data.get("on_call", {}).items():
        for index, person in enumerate(value.get("people", ())):
            yield ("on_call", role, "people", index), person
        for index, each in enumerate(value.get("instead", ())):
            yield ("on_call", role, "instead", index, "person"), each["person"]


def _named_roles(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    rules = data.get("incidents", {})
    if "communications" in rules:
        yield ("incidents", "communications"), rules["communications"]
    for severity, roles in rules.get("page", {}).items():
        for index, role in enumerate(roles if severity != "every" else ()):
            yield ("incidents", "page", severity, index), role
    for index, role in enumerate(rules.get("restricted", {}).get("roles", ())):
        yield ("incidents", "restricted", "roles", index), role
    for name, reader in rules.get("readers", {}).items():
        for index, role in enumerate(reader.get("roles", ())):
            yield ("incidents", "readers", name, "roles", index), role
    for role in data.get("on_call", {}):
        yield ("on_call", role), role


def _moments(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    for role, value in data.get("on_call", {}).items():
        if "starts" in value:
            yield ("on_call", role, "starts"), value["starts"]
        for index, each in enumerate(value.get("instead", ())):
            yield ("on_call", role, "instead", index, "begins"), each["begins"]
            yield ("on_call", role, "instead", index, "ends"), each["ends"]


def _often(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    rules = data.get("incidents", {})
    for name in ("updates", "checkpoints"):
        for severity, text in rules.get(name, {}).items():
            yield ("incidents", name, severity), text
    if "every" in rules.get("page", {}):
        yield ("incidents", "page", "every"), rules["page"]["every"]
    for role, value in data.get("on_call", {}).items():
        if "every" in value:
            yield ("on_call", role, "every"), value["every"]


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _times(plain: Mapping[Severity, timedelta], own: Mapping[str, str]) -> Mapping[Severity, timedelta]:
    said = {Severity(name): text for name, text in own.items()}
    kept = {severity: every for severity, every in plain.items() if severity not in said}
    return {**kept, **{severity: parse_duration(text) for severity, text in said.items() if text != _NEVER}}


def _reader(name: str, value: Mapping[str, Any], policy: Path) -> Reader:
    return Reader(name=name, secret=read_secret(value["secret"], policy), roles=tuple(map(RoleName, value.get("roles", ()))))


def _on_call(value: Mapping[str, Any]) -> OnCall:
    return OnCall(
        people=tuple(map(PersonId, value.get("people", ()))),
        starts=datetime.fromisoformat(value["starts"]) if "starts" in value else None,
        every=parse_duration(value["every"]) if "every" in value else timedelta(days=7),
        instead=tuple(
            Instead(
                person=PersonId(each["person"]), begins=datetime.fromisoformat(each["begins"]), ends=datetime.fromisoformat(each["ends"])
            )
            for each in value.get("instead", ())
        ),
        page=tuple(value.get("page", ())),
    )
