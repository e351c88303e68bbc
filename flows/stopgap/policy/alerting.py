"""What policy.yaml says of alerts: who may send them, how their words are understood, and when to stop starting runbooks."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stopgap.clock import parse_duration
from stopgap.policy.model import Severity
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.document import Document
    from stopgap.problems import Problem

KINDS = ("alertmanager", "grafana", "datadog", "new-relic", "pagerduty", "cloudwatch", "opsgenie", "sentry", "generic")
_NEEDS = {"cloudwatch": "topics", "generic": "fields"}  # what a kind cannot do without
_SIGNED = frozenset({"cloudwatch"})  # by the sender's own certificate: there is no secret to share


class NoSecretError(StopgapError):
    """A secret that policy.yaml names is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where a secret is found: in an environment variable, or in a file with one a line, each of which is good (to change one without a gap)."""

    variable: str = ""
    file: Path | None = None

    def values(self) -> tuple[str, ...]:
        """Return the secrets that are good now; NoSecretError when there is none."""
        text = os.environ.get(self.variable, "") if self.file is None else _read(self.file)
        found = tuple(line.strip() for line in text.splitlines() if line.strip())
        if not found:
            raise NoSecretError(f"{self.place} holds no secret.")
        return found

    @property
    def place(self) -> str:
        """Say where it is looked for."""
        return f"The environment variable {self.variable}" if self.file is None else f"The file {self.file}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Somebody who may post alerts to /alerts/<name>. `kind` says how they are read; `secret` None lets anybody post.

    `user` is asked for as well when it is not empty (basic authentication). `topics` are the SNS topics that are listened to, `fields` the
    expressions of a generic source. `severities` turns the source's own words into ours.
    """

    name: str
    kind: str
    secret: Secret | None = None
    user: str = ""
    topics: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    severities: Mapping[str, Severity] = field(default_factory=dict)
    stale_after: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StormRules:
    """More new incidents by alerts than so many in so long: nothing is started by itself any more, until somebody says so."""

    incidents: int = 10
    window: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRules:
    """Alerts with the same values of all of these labels, one within so long of another, belong to one incident."""

    by: tuple[str, ...]
    window: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRules:
    """What holds for alerts. An episode of which nothing was heard for `stale_after` is over, although nobody said so."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    stale_after: timedelta = timedelta(days=3)
    storm: StormRules = field(default_factory=StormRules)
    group: GroupRules | None = None


def problems(found: Document) -> Iterator[Problem]:
    """What the schema cannot say of the sources."""
    for name, value in found.data.get("alerts", {}).get("sources", {}).items():
        path, kind = ("alerts", "sources", name), value.get("kind", name)
        if kind not in KINDS:
            hint = f"add  kind: generic  or one of {', '.join(KINDS[:-1])}"
            yield found.problem(path, f'"{name}" is no kind of source, and it names none', "missing-key", hint=hint, at_key=True)
            continue
        if needs := _NEEDS.get(kind) if _NEEDS.get(kind) not in value else "":
            yield found.problem(path, f'a source of kind {kind} needs "{needs}"', "missing-key", at_key=True)
        if kind not in _SIGNED and ("secret" in value) == ("open" in value):
            says = "has no secret, so anybody could start runbooks" if "open" not in value else "is open to anybody and has a secret"
            hint = "secret: {env: NAME_OF_A_VARIABLE}, or  open: true  for trying out on one machine"
            yield found.problem(path, f'"{name}" {says}', "missing-key", hint=hint, at_key=True)


def read(data: Mapping[str, Any], policy: Path) -> AlertRules:
    """Reshape the `alerts` of a checked policy; relative files are relative to its folder."""
    plain = AlertRules()
    storm = data.get("storm", {})
    return AlertRules(
        sources={name: _source(name, value, policy) for name, value in data.get("sources", {}).items()},
        stale_after=parse_duration(data["stale_after"]) if "stale_after" in data else plain.stale_after,
        storm=StormRules(
            incidents=storm.get("incidents", plain.storm.incidents),
            window=parse_duration(storm["window"]) if "window" in storm else plain.storm.window,
        ),
        group=_group(data["group"]) if "group" in data else None,
    )


def _group(value: Mapping[str, Any]) -> GroupRules:
    window = {"window": parse_duration(value["window"])} if "window" in value else {}
    return GroupRules(by=tuple(value["by"]), **window)


def _source(name: str, value: Mapping[str, Any], policy: Path) -> Source:
    return Source(
        name=name,
        kind=value.get("kind", name),
        secret=read_secret(value["secret"], policy) if "secret" in value else None,
        user=value.get("user", ""),
        topics=tuple(value.get("topics", ())),
        fields=dict(value.get("fields", {})),
        severities={word: Severity(level) for word, level in value.get("severities", {}).items()},
        stale_after=parse_duration(value["stale_after"]) if "stale_after" in value else None,
    )


def read_secret(value: Mapping[str, str], policy: Path) -> Secret:
    """Reshape `{env: NAME}` or `{file: PATH}`; a relative file is relative to the policy's folder."""
    if "env" in value:
        return Secret(variable=value["env"])
    return Secret(file=policy.absolute().parent / Path(value["file"]).expanduser())


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise NoSecretError(f"The file {file} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}.") from error
