"""What is kept beside the log to act on alerts once: how far each receiver's chain has been acted on, and the newest episode of each alert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    from stopgap.timeline.entry import Entry

Name = tuple[str, str]  # a source, and what it calls the same alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """The newest episode of an alert: all that its source says from firing to resolved.

    `started` and `ended` are by the source's clock, `opened_at`, `seen_at` (when it last fired) and `closed_at` by ours. `number` 0: it never
    fired, only its end was heard of. `incident` and `run` are empty as long as there is none.
    """

    source: str
    alert: str
    number: int
    opened_at: datetime
    seen_at: datetime
    incident: str = ""
    run: str = ""
    severity: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    closed_at: datetime | None = None
    deliveries: int = 0

    @property
    def name(self) -> Name:
        """What tells it from other alerts."""
        return self.source, self.alert

    @property
    def is_open(self) -> bool:
        """Its source has not said that it is over."""
        return self.closed_at is None

    @property
    def key(self) -> str:
        """The idempotency key of everything that this episode starts."""
        return f"alert/{self.source}/{self.alert}/{self.number}"


class Turn(Protocol):
    """Acting on what was accepted: a transaction. Nobody else acts on the same chain meanwhile; when it ends, it counts as acted on."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What was accepted and not yet acted on, in order; a part of it when it is much."""

    def episodes(self, names: Collection[Name]) -> Mapping[Name, Episode]:
        """Return the newest episodes of these alerts, which nobody else touches until the turn ends. Once a turn."""

    def keep(self, episodes: Collection[Episode]) -> None:
        """Write episodes."""

    def one_at_a_time(self) -> None:
        """Wait until no other turn has asked for this, and keep others waiting until this one ends: for what depends on all alerts."""


class Intake(Protocol):
    """The rows. Durable when a turn has ended."""

    def turn(self, chain: str, *, at_most: int = 200) -> AbstractContextManager[Turn]:
        """Act on the accepted deliveries of a receiver's chain, so many at most."""

    def behind(self, *, by: timedelta, now: datetime) -> tuple[str, ...]:
        """Return the receivers' chains with something accepted that long ago and not yet acted on."""

    def episodes_of(self, incident: str) -> tuple[Episode, ...]:
        """Return the alerts whose newest episode belongs to an incident, oldest first."""
