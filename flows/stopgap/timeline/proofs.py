"""What is kept beside the log to check one-time codes: sealed secrets, codes that were used, wrong codes of late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime


class Turn(Protocol):
    """One check of a code. Nobody else checks one of the same person meanwhile; what it writes is kept when the turn ends."""

    def was_used_for(self, attempt: str) -> bool:
        """Whether a code was used up for this very attempt: it is being read again after a crash."""

    def use(self, enrolment: str, counter: int, *, attempt: str, at: datetime) -> bool:
        """Use a code up; False when it was used before."""

    def wrong(self, channel: str, *, since: datetime) -> tuple[datetime, ...]:
        """Return when wrong codes came by this channel, oldest first."""

    def note_wrong(self, channel: str, *, attempt: str, at: datetime) -> None:
        """Count an attempt as wrong; counted once however often it is read."""


class Proofs(Protocol):
    """The rows. Durable when a call returns."""

    def keep(self, enrolment: str, sealed: bytes) -> None:
        """Keep the sealed secret of an enrolment."""

    def sealed(self, enrolment: str) -> bytes | None:
        """Return the sealed secret of an enrolment; None when it was forgotten."""

    def forget(self, enrolment: str) -> None:
        """Remove the secret of an enrolment."""

    def turn(self, person: str) -> AbstractContextManager[Turn]:
        """Check a code of this person, one at a time over all processes."""
