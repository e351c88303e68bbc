"""`Alert`: what a monitoring system says about one thing, whatever system it is."""

from __future__ import annotations

import abc
import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from stopgap.clock import format_time
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.policy.alerting import Source


class Status(enum.StrEnum):
    """What the source says of the alert. Unknown neither starts nor ends anything: the source has no data."""

    FIRING = "firing"
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert of a delivery.

    `key` is what the source calls the same alert from firing to resolved. `severity` is the source's own word. `started` and `ended` are the
    source's moments; `at` is when it says that this happened, where it says so. Texts come from outside: nothing may trust them.
    """

    source: str
    key: str
    status: Status
    title: str
    severity: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    url: str = ""

    @property
    def moment(self) -> datetime | None:
        """When this happened by the source's clock, as far as it says."""
        return self.at or (self.ended if self.status is Status.RESOLVED else self.started)

    def to_json(self) -> dict[str, Any]:
        """Return the alert as it stands in an entry, and as expressions read it."""
        times = {name: format_time(value) if (value := getattr(self, name)) else "" for name in ("started", "ended", "at")}
        texts = {name: str(getattr(self, name)) for name in ("source", "key", "status", "title", "severity", "url")}
        return {**texts, **times, "labels": dict(self.labels), "annotations": dict(self.annotations)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        times = {name: datetime.fromisoformat(data[name]) if data[name] else None for name in ("started", "ended", "at")}
        return cls(**{**data, **times, "status": Status(data["status"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A request as it came. Names of headers are in small letters."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a delivery says. `id` is the same when this very delivery is sent again, empty where its source has no such thing.

    `body` is all of it, as it came; `remark` is something people should know about it.
    """

    alerts: tuple[Alert, ...]
    body: Any = None
    id: str = ""
    remark: str = ""


class UnreadableError(StopgapError):
    """The body is no alert of this source."""


class ForbiddenError(StopgapError):
    """The sender did not prove who it is."""


class Reader(abc.ABC):
    """How one kind of source is read: the base of every module's `READER`."""

    def authenticate(self, source: Source, delivery: Delivery) -> None:
        """ForbiddenError unless the sender knows the secret; by default a bearer token, or the password of basic authentication."""
        from stopgap.alerts import secrets

        secrets.require_token(source, delivery)

    @abc.abstractmethod
    def read(self, source: Source, delivery: Delivery) -> Reading:
        """Return what was delivered; UnreadableError says what is wrong with it."""
