"""Read policy.yaml: who may decide what, where runbooks may act, and how far they may go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stopgap import document, schema
from stopgap.clock import parse_duration
from stopgap.policy import alerting, around, asking, care, incidents, limiting, reaching
from stopgap.policy.model import (
    Account,
    AccountName,
    Channel,
    Cluster,
    ClusterName,
    Event,
    LockRules,
    Nginx,
    Person,
    PersonId,
    Policy,
    Role,
    RoleName,
    Severity,
)
from stopgap.problems import ProblemsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.document import Document
    from stopgap.problems import Problem

FILE = "policy.yaml"


def load(path: Path) -> Policy:
    """Read a policy; ProblemsError with every mistake in it."""
    found, problems = document.examine(path)
    policy, more = check(found) if found else (None, [])
    if policy is None or problems:
        raise ProblemsError(document.joined(problems, more))
    return policy


def find(start: Path) -> Path | None:
    """Return the policy.yaml nearest above a file or folder, or None."""
    place = start.absolute()
    return next((folder / FILE for folder in (place, *place.parents) if (folder / FILE).is_file()), None)


def check(found: Document) -> tuple[Policy | None, list[Problem]]:
    """Return the policy of a document and what to be warned of, or None and its mistakes."""
    problems = [*schema.check(found, "policy"), *care.too_long(found)]
    problems += (
        [
            *_unknown_people(found),
            *_roles_elsewhere(found),
            *asking.check(found),
            *alerting.problems(found),
            *incidents.problems(found),
            *limiting.problems(found),
            *reaching.problems(found),
            *around.problems(found),
        ]
        if not problems
        else []
    )
    return (None, problems) if problems else (_policy(found), list(care.literal_secrets(found)))


def _unknown_people(found: Document) -> Iterator[Problem]:
    people = found.data["people"]
    for path, person in _named_people(found.data):
        if person not in people:
            hint = schema.nearest(person, people) or f"the people are {schema.listed(people, last='and')}"
            yield found.problem(path, f'"{person}" is nobody under "people"', "unknown-person", hint=hint)


def _roles_elsewhere(found: Document) -> Iterator[Problem]:
    for name, account in found.data.get("accounts", {}).items():
        if account.get("role", "").split(":")[4:5] not in ([], [account["id"]]):
            hint = f"the account's id is {account['id']}"
            yield found.problem(("accounts", name, "role"), "this role is in another account", "other-account", hint=hint)


def _named_people(data: Mapping[str, Any]) -> Iterator[tuple[document.KeyPath, str]]:
    for index, person in enumerate(data.get("administrators", [])):
        yield ("administrators", index), person
    for team, members in data.get("teams", {}).items():
        for index, person in enumerate(members):
            yield ("teams", team, index), person
    for role, lists in data["roles"].items():
        for kind, members in lists.items():
            for index, person in enumerate(members):
                yield ("roles", role, kind, index), person
    yield from asking.named_people(data)
    yield from incidents.named_people(data)


def _policy(found: Document) -> Policy:
    data = found.data
    return Policy(
        people={PersonId(key): _person(PersonId(key), value) for key, value in data["people"].items()},
        teams={name: tuple(map(PersonId, members)) for name, members in data.get("teams", {}).items()},
        roles={RoleName(name): _role(RoleName(name), lists) for name, lists in data["roles"].items()},
        clusters={ClusterName(name): _cluster(name, value, found.path) for name, value in data.get("clusters", {}).items()},
        accounts={AccountName(name): _account(name, value, found.path) for name, value in data.get("accounts", {}).items()},
        prometheus=dict(data.get("prometheus", {})),
        haproxy=dict(data.get("haproxy", {})),
        nginx={name: _nginx(value) for name, value in data.get("nginx", {}).items()},
        commands=tuple(map(tuple, data.get("commands", ()))),
        around=around.read(data, found.path),
        http=reaching.http(data.get("http", {})),
        limits=limiting.read(data.get("limits", {})),
        approvals=asking.rules(data.get("approvals", {})),
        by_severity=asking.by_severity(data.get("approvals", {})),
        channels=tuple(_channel(name, value) for name, value in data.get("notify", {}).items()),
        locks=_locks(data.get("locks", {})),
        alerts=alerting.read(data["alerts"], found.path) if "alerts" in data else None,
        incidents=incidents.read(data.get("incidents", {}), found.path),
        on_call=incidents.on_call(data.get("on_call", {})),
        administrators=tuple(map(PersonId, data.get("administrators", []))),
        path=found.path,
    )


def _person(name: PersonId, value: Mapping[str, Any]) -> Person:
    return Person(
        id=name,
        name=value["name"],
        contact=value.get("contact", ""),
        notify=tuple(value.get("notify", ())),
        page=tuple(value.get("page", ())),
    )


def _channel(name: str, value: Mapping[str, Any]) -> Channel:
    events = frozenset(map(Event, value.get("events", list(Event))))
    audience: Literal["internal", "public"] = "public" if value.get("audience") == "public" else "internal"
    severities = frozenset(map(Severity, value.get("severities", list(Severity))))
    restricted = value.get("restricted", False)
    return Channel(name=name, url=value["url"], events=events, audience=audience, restricted=restricted, severities=severities)


def _role(name: RoleName, lists: Mapping[str, list[str]]) -> Role:
    holders, deputies = (tuple(map(PersonId, lists.get(kind, []))) for kind in ("holders", "deputies"))
    return Role(name=name, holders=holders, deputies=deputies)


def _cluster(name: str, value: Mapping[str, Any], policy: Path) -> Cluster:
    return Cluster(
        name=ClusterName(name),
        kubeconfig=_located(value, "kubeconfig", policy),
        context=value.get("context", ""),
        read_only=_located(value, "read_only", policy),
        in_cluster=value.get("in_cluster", False),
    )


def _account(name: str, value: Mapping[str, Any], policy: Path) -> Account:
    files = {key: _located(value, key, policy) for key in ("config", "credentials")}
    return Account(name=AccountName(name), **{**value, **files})


def _nginx(value: Mapping[str, Any]) -> Nginx:
    commands = {key: tuple(value[key]) for key in ("test", "reload") if key in value}
    return Nginx(file=Path(value["file"]), **commands)


def _located(value: Mapping[str, Any], key: str, policy: Path) -> Path | None:
    return policy.absolute().parent / Path(value[key]).expanduser() if key in value else None


def _locks(value: Mapping[str, Any]) -> LockRules:
    return LockRules(wait=parse_duration(value["wait"])) if "wait" in value else LockRules()
