"""`Entry`: one thing that happened. The closed set of kinds is in schemas/entry.schema.json, with one sentence each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from stopgap.timeline.locks import Locks
    from stopgap.timeline.proofs import Proofs
    from stopgap.timeline.verify import Damage


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An entry before it is appended.

    `chain` is what it is numbered and hashed within: an incident's id (`INC-12`, `DRILL-3`). `key` has one winner in the whole timeline:
    of several drafts with one key the first is appended and everybody reads that one. Without a key an entry gets one of its own.
    `text` is the sentence people read; `data` is JSON.
    """

    chain: str
    kind: str
    text: str
    actor: str  # a person's id, or "stopgap"
    incident: str = ""
    run: str = ""
    step: str = ""
    key: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as it stands in the timeline; `at` is aware UTC to the microsecond; `previous` and `hash` are hexadecimal."""

    chain: str
    number: int
    incident: str
    run: str
    step: str
    at: datetime
    kind: str
    actor: str
    text: str
    data: Mapping[str, Any]
    key: str
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Appended:
    """The entry under the key, and whether this call wrote it."""

    entry: Entry
    won: bool


class Timeline(Protocol):
    """The append-only log. Every append is durable when it returns; when it raises, nothing was written, or the error says that it may have been."""

    @property
    def locks(self) -> Locks:
        """Which run works on which target, beside the log."""

    @property
    def proofs(self) -> Proofs:
        """What is kept beside the log to check one-time codes."""

    def append(self, draft: Draft) -> Appended:
        """Append, or return the entry that already has this key."""

    def append_all(self, drafts: Sequence[Draft]) -> tuple[Appended, ...]:
        """Append several in one transaction, in order."""

    def find(self, key: str) -> Entry | None:
        """Return the entry with this key."""

    def of_chain(self, chain: str, *, after: int = 0) -> tuple[Entry, ...]:
        """Return a chain's entries in order, those numbered above `after`."""

    def of_run(self, run: str) -> tuple[Entry, ...]:
        """Return a run's entries in order."""

    def of_kind(self, *kinds: str, since: datetime | None = None) -> tuple[Entry, ...]:
        """Return entries of these kinds over all chains, oldest first."""

    def chains(self, *, limit: int = 100) -> tuple[str, ...]:
        """Return the names of the chains of incidents and drills, the newest first."""

    def next_number(self, name: str) -> int:
        """Return the next number of a counter (`INC`, `DRILL`); gaps are possible, repeats are not."""

    def damage(self, name: str) -> Damage | None:
        """Return the first thing wrong with a chain, or None."""

    def token(self, purpose: str) -> str:
        """Return what nobody without the timeline's key can guess, the same each time: for a link that proves who was sent it."""

    def follow(self, chain: str, *, after: int = 0, timeout: timedelta | None = None) -> Iterator[Entry]:
        """Yield a chain's entries as they come; NOTIFY is a hint, a poll finds what it missed. Ends after `timeout` without one."""
