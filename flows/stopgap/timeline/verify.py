"""Verify the chains: name, for each, the first entry that was changed, removed, inserted or cut off by anybody without the key.

Found by the hashes alone: an entry changed, removed or inserted. Found by the heads' own hashes: an end cut off, a head moved back or
removed. Found by SEALS: a chain removed as a whole, with its head; an end cut off by somebody who put an older copy of the head back.

Not found by anything that is inside the database:

- the whole database put back to an earlier state of its own (a backup restored): everything agrees, it only ends earlier. The line that
  `verify` ends with, kept elsewhere and given to the next `verify --since`, finds that;
- the newest entries of a chain removed together with an older copy of its head, as long as the chain did not go into SEALS between: that
  is an hour while the chain grows, and nothing after a run ended or an incident was resolved;
- anything done by somebody who has the key.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stopgap.problems import UsageError
from stopgap.timeline import chain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from stopgap.timeline.chain import Head
    from stopgap.timeline.entry import Entry

    Seals = Mapping[int, str]  # number -> the hash that an entry of that number was sealed with

_SHIFTS = 100  # so many removed entries are recognised although the later ones were given other numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The whole timeline at one moment: every head, the entries of SEALS, and all others by chain and number."""

    heads: Mapping[str, Head]
    seals: tuple[Entry, ...]
    entries: Iterator[Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """The first thing wrong with a chain: at which number, in a sentence."""

    chain: str
    number: int
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was looked at and what is wrong, SEALS first. `end` is where SEALS ends (`14:3fa9...`), empty without entries."""

    entries: int
    chains: int
    damages: tuple[Damage, ...]
    end: str


def verify(snapshot: Snapshot, *, key: bytes, since: str = "") -> Verdict:
    """Check every chain. `since` is the `end` of an earlier verdict, which must still hold."""
    damages = [_Walk(chain.SEALS, snapshot.heads.get(chain.SEALS), _since(since), key).along(snapshot.seals)]
    sealed = _sealed(snapshot.seals)
    counted = _Counted(snapshot.entries)
    seen = set()
    for name, entries in itertools.groupby(counted, key=lambda entry: entry.chain):
        damages.append(_Walk(name, snapshot.heads.get(name), sealed.get(name, {}), key).along(entries))
        seen.add(name)
    gone = sorted({*sealed, *snapshot.heads} - seen - {chain.SEALS})
    damages.extend(_gone(name, snapshot.heads.get(name), sealed.get(name, {})) for name in gone)
    if seen and not snapshot.seals:
        damages.insert(0, _gone(chain.SEALS, None, {}))
    last = snapshot.seals[-1] if snapshot.seals else None
    return Verdict(
        entries=counted.number + len(snapshot.seals),
        chains=len(seen),
        damages=tuple(damage for damage in damages if damage),
        end=f"{last.number}:{last.hash}" if last else "",
    )


def verify_one(name: str, head: Head | None, entries: Iterable[Entry], *, key: bytes) -> Damage | None:
    """Check one chain by its own hashes and its head's; what only SEALS can tell is left to `verify`."""
    return _Walk(name, head, {}, key).along(entries)


@dataclass(frozen=True, slots=True)
class _Walk:
    """A walk along one chain, until something is wrong."""

    name: str
    head: Head | None
    sealed: Seals
    key: bytes

    def along(self, entries: Iterable[Entry]) -> Damage | None:
        """Return the first damage, or None."""
        number, last = 0, chain.NOTHING
        for entry, later in itertools.pairwise(itertools.chain(entries, [None])):
            if entry is None:
                break
            number += 1
            if entry.number != number:
                return self._damage(number, _were(number, entry.number - 1, "removed"))
            if wrong := self._wrong(entry, last, later):
                return self._damage(number, wrong)
            last = entry.hash
        return self._end(number, last)

    def _wrong(self, entry: Entry, last: str, later: Entry | None) -> str:
        """Say what is wrong with the entry after the one whose hash is `last`; nothing when it is right."""
        if chain.digest(entry, self.key) == entry.hash:
            if entry.previous != last:
                return "does not follow the entry before it, which was exchanged"
            return "was changed after it was sealed" if self.sealed.get(entry.number, entry.hash) != entry.hash else ""
        if any(chain.digest(replace(entry, number=entry.number + shift), self.key) == entry.hash for shift in range(1, _SHIFTS)):
            return "was removed, and the later ones were given other numbers"
        follows = later.previous if later else self.head.hash if self.head else ""
        return "was inserted by somebody without the key" if follows == last else "was changed after it was written"

    def _end(self, number: int, last: str) -> Damage | None:
        """Compare where the chain ends with where its head and SEALS say that it does."""
        promised = max([self.head.number if self.head else 0, *self.sealed])
        if promised > number:
            return self._damage(number + 1, _were(number + 1, promised, "cut off"))
        if self.head is None:
            return self._damage(number, "is the last one, but the head that says so was removed") if number else None
        if self.head.number < number:
            return self._damage(self.head.number + 1, "was inserted by somebody who could not move the head")
        if self.head.hash != last or not chain.is_ours(self.head, self.key):
            return self._damage(number + 1, "was cut off: the head was moved back without the key")
        return None

    def _damage(self, number: int, what: str) -> Damage:
        return Damage(chain=self.name, number=number, sentence=f"{self.name} #{number} {what}.")


class _Counted:
    """Counts what passes."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self.number = 0
        self._entries = entries

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._entries:
            self.number += 1
            yield entry


def _were(first: int, last: int, done: str) -> str:
    return f"was {done}" if first == last else f"to #{last} were {done}"


def _gone(name: str, head: Head | None, sealed: Seals) -> Damage:
    count = max([head.number if head else 0, *sealed])
    had = f"; it had {count} {'entry' if count == 1 else 'entries'}" if count else ""
    return Damage(chain=name, number=1, sentence=f"{name} was removed as a whole{had}.")


def _sealed(seals: Iterable[Entry]) -> dict[str, dict[int, str]]:
    """Return what SEALS says of each chain; entries of it that are damaged are reported by themselves."""
    found: dict[str, dict[int, str]] = {}
    for seal in seals:
        match seal.data:
            case {"chain": str(name), "number": int(number), "hash": str(hashed)}:
                found.setdefault(name, {})[number] = hashed
    return found


def _since(end: str) -> dict[int, str]:
    if not end:
        return {}
    number, _colon, hashed = end.partition(":")
    if not number.isdigit() or len(hashed) != len(chain.NOTHING):
        raise UsageError(
            f'"{end}" is not where a timeline ended. Give the line that `stopgap timeline verify` printed, like 14:3fa9... (64 hexadecimal digits).'
        )
    return {int(number): hashed}
