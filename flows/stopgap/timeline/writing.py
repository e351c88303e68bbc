"""One transaction of the timeline: lock the chains, find the winners of the keys, link, store, seal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import Insert, bindparam, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from stopgap.problems import StopgapError
from stopgap.timeline import chain, rows, tables
from stopgap.timeline.entry import Appended, Draft, Entry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

_MOVES = ("number", "hash", "at", "mac", "sealed", "sealed_at")  # what an append changes of a head


class TamperedError(StopgapError):
    """A chain's end was changed by somebody without the timeline's key."""


class Writing:
    """What one transaction writes, and the heads it moves. `written` is filled with the entries, before the commit."""

    def __init__(self, connection: Connection, *, key: bytes, now: datetime, written: list[Entry] | None = None) -> None:
        self._connection = connection
        self._key = key
        self._now = now
        self._written = [] if written is None else written
        self._heads: dict[str, chain.Head | None] = {}

    def write(self, drafts: Sequence[Draft]) -> tuple[Appended, ...]:
        """Append drafts that are clean, and seal what is due."""
        before = self._lock({draft.chain for draft in drafts})
        winners = self._winners([draft.key for draft in drafts if draft.key])
        done = [self._append(draft, winners) for draft in drafts]
        if self._written:
            self._seal(self._due(before))
            self._store()
        return tuple(done)

    def seal(self, heads: Sequence[chain.Head]) -> None:
        """Append to SEALS where these chains, which need no lock for it, end."""
        if heads:
            self.write([chain.clean(chain.seal(head)) for head in heads])
            query = update(tables.head)
            for head in heads:
                mine = query.where(tables.head.c.chain == head.chain, tables.head.c.sealed < head.number)
                self._connection.execute(mine.values(sealed=head.number, sealed_at=self._now))

    def _lock(self, names: set[str]) -> dict[str, chain.Head | None]:
        """Lock chains, always in one order and SEALS last, so that no two transactions wait for each other."""
        found = {name: self._locked(name) for name in sorted(names, key=lambda name: (name == chain.SEALS, name))}
        self._heads |= found
        return found

    def _locked(self, name: str) -> chain.Head | None:
        """Lock a chain; one that does not exist yet by its name. A head that we did not write is not built upon: that would hide who moved it."""
        query = select(tables.head).where(tables.head.c.chain == name).with_for_update()
        row = self._connection.execute(query).one_or_none()
        if row is None:
            self._connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 7021817))"), {"name": name})
            row = self._connection.execute(query).one_or_none()
        head = rows.head_of(row) if row else None
        if head and not chain.is_ours(head, self._key):
            raise TamperedError(
                f"The end of the chain {name} was changed by somebody without the timeline's key, so nothing is added to it.\n"
                "See what is wrong:  stopgap timeline verify"
            )
        return head

    def _winners(self, keys: Sequence[str]) -> dict[str, Entry]:
        if not keys:
            return {}
        found = self._connection.execute(select(tables.entry).where(tables.entry.c.key.in_(keys)))
        return {row.key: rows.entry_of(row) for row in found}

    def _append(self, draft: Draft, winners: dict[str, Entry]) -> Appended:
        if draft.key in winners:
            return Appended(winners[draft.key], won=False)
        before = self._heads[draft.chain]
        entry = chain.link(draft, head=before, at=self._now, key=self._key)
        self._heads[draft.chain] = chain.head_of(entry, before=before, key=self._key)
        winners[entry.key] = entry
        self._written.append(entry)
        return Appended(entry, won=True)

    def _due(self, before: dict[str, chain.Head | None]) -> list[chain.Head]:
        """Return the new heads of the chains that go into SEALS with this transaction."""
        due = []
        for name, head in before.items():
            mine = [entry for entry in self._written if entry.chain == name]
            now = self._heads[name]
            if mine and now and chain.needs_seal(head, mine):
                due.append(now)
        return due

    def _seal(self, heads: Sequence[chain.Head]) -> None:
        if not heads:
            return
        self._lock({chain.SEALS})
        for head in heads:
            self._heads[head.chain] = replace(head, sealed=head.number, sealed_at=self._now)
            self._append(chain.clean(chain.seal(head)), {})

    def _store(self) -> None:
        moved = {entry.chain for entry in self._written}
        heads = [head for name, head in self._heads.items() if head and name in moved]
        if len(self._written) == 1:
            self._connection.execute(_ONE, {**rows.row_of(heads[0], prefix="head_"), **rows.row_of(self._written[0])})
        else:
            self._connection.execute(insert(tables.entry), [rows.row_of(entry) for entry in self._written])
            self._connection.execute(_move(), [rows.row_of(head) for head in heads])


def _move() -> Insert:
    write = upsert(tables.head)
    return write.on_conflict_do_update(index_elements=["chain"], set_={name: write.excluded[name] for name in _MOVES})


def _one() -> Insert:
    """Return the statement that writes one entry and moves its head, in one round trip."""
    moving = upsert(tables.head).values({name: bindparam(f"head_{name}") for name in tables.head.c.keys()})  # noqa: SIM118  a column collection
    moving = moving.on_conflict_do_update(index_elements=["chain"], set_={name: moving.excluded[name] for name in _MOVES})
    return insert(tables.entry).values({name: bindparam(name) for name in tables.entry.c.keys()}).add_cte(moving.cte("moved"))  # noqa: SIM118  as above


_ONE = _one()
