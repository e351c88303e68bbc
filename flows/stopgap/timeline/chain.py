"""The chain: every entry carries a keyed hash of itself and of the entry before it, and every chain has a head that is hashed too.

`append` in a store works in the order of this module: `clean` a draft, `link` it to the head, `head_of` the last one, `needs_seal`, `seal`.

What holds the chains together is one more chain, SEALS: the number and hash of a chain's head go into it when the chain begins, when a run
ends or an incident is resolved, and once an hour while the chain grows. (One chain that never ends, and not one a day: the removal of the
last day as a whole would be seen by nobody.) `verify` says what that finds, and what nothing inside the database can find.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stopgap.clock import format_time
from stopgap.timeline import kinds
from stopgap.timeline.entry import Draft, Entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

SEALS = "SEALS"
RESPONDERS = "RESPONDERS"  # who may prove by one-time codes that it was them; see stopgap.approvals.responders
APART = (SEALS, RESPONDERS)  # the chains that are no incident's, and those of
RECEIVERS = "ALERTS/"  # what came in, a chain for each receiver of alerts: ALERTS/host:4210
NOTHING = "0" * 64  # what the first entry of a chain names as the hash before it
SEAL_EVERY = timedelta(hours=1)
_SEALING = frozenset({"run.finished", "incident.resolved"})
_KEY_LENGTH = 1000  # PostgreSQL indexes at most 2.7 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a chain ends. `mac` proves that we wrote it; `sealed` is the number that last went into SEALS, and `sealed_at` when."""

    chain: str
    number: int
    hash: str
    at: datetime
    mac: str
    opened: datetime
    sealed: int = 0
    sealed_at: datetime | None = None


def token(purpose: str, key: bytes) -> str:
    """Return 40 letters and digits that only the key can make for this purpose."""
    return hmac.new(key, b"token\0" + purpose.encode(), hashlib.sha256).hexdigest()[:40]


def clean(draft: Draft) -> Draft:
    """Return the draft as it can be stored and read back equal; EntryError when it cannot."""
    kinds.require_known(draft.kind)
    texts = {name: _storable(getattr(draft, name)) for name in ("chain", "text", "actor", "incident", "run", "step", "key")}
    if not texts["chain"]:
        raise kinds.EntryError(f"An entry of kind {draft.kind} names no chain. Name the incident it belongs to, like INC-12.")
    if len(texts["key"]) > _KEY_LENGTH:
        raise kinds.EntryError(f"The key of an entry has {len(texts['key'])} characters; {_KEY_LENGTH} are allowed: {texts['key'][:80]}...")
    return replace(draft, **texts, data=_data(draft))


def link(draft: Draft, *, head: Head | None, at: datetime, key: bytes) -> Entry:
    """Number, date and hash a clean draft as the entry after this head."""
    number = head.number + 1 if head else 1
    entry = Entry(
        chain=draft.chain,
        number=number,
        incident=draft.incident,
        run=draft.run,
        step=draft.step,
        at=max(at, head.at) if head else at,
        kind=draft.kind,
        actor=draft.actor,
        text=draft.text,
        data=draft.data,
        key=draft.key or f"{draft.chain}/{number}",
        previous=head.hash if head else NOTHING,
        hash="",
    )
    return replace(entry, hash=digest(entry, key))


def head_of(entry: Entry, *, before: Head | None, key: bytes) -> Head:
    """Return the head after this entry."""
    return Head(
        chain=entry.chain,
        number=entry.number,
        hash=entry.hash,
        at=entry.at,
        mac=head_mac(entry.chain, entry.number, entry.hash, key=key),
        opened=before.opened if before else entry.at,
        sealed=before.sealed if before else 0,
        sealed_at=before.sealed_at if before else None,
    )


def needs_seal(head: Head | None, written: Sequence[Entry]) -> bool:
    """Whether a chain that had this head and got these entries goes into SEALS now."""
    if written[-1].chain == SEALS:
        return False
    if head is None or head.sealed_at is None or any(entry.kind in _SEALING for entry in written):
        return True
    return written[-1].at - head.sealed_at >= SEAL_EVERY


def seal(head: Head) -> Draft:
    """Return the entry for SEALS that says where a chain ends."""
    return Draft(
        chain=SEALS,
        kind=kinds.SEALED,
        text=f"{head.chain} had {head.number} {'entry' if head.number == 1 else 'entries'}",
        actor="stopgap",
        data={"chain": head.chain, "number": head.number, "hash": head.hash},
    )


def digest(entry: Entry, key: bytes) -> str:
    """HMAC-SHA-256 (hex) of everything in the entry but its hash, as canonical JSON."""
    content = to_json(entry)
    del content["hash"]
    return hmac.new(key, canonical(content).encode(), hashlib.sha256).hexdigest()


def head_mac(chain: str, number: int, last: str, *, key: bytes) -> str:
    """HMAC-SHA-256 (hex) of a head: without the key nobody can move it back."""
    return hmac.new(key, canonical(["head", chain, number, last]).encode(), hashlib.sha256).hexdigest()


def is_apart(name: str) -> bool:
    """Whether a chain is no incident's."""
    return name in APART or name.startswith(RECEIVERS)


def is_ours(head: Head, key: bytes) -> bool:
    """Whether the head was written with this key."""
    return hmac.compare_digest(head.mac, head_mac(head.chain, head.number, head.hash, key=key))


def fingerprint(key: bytes) -> str:
    """Return what tells one key from another without giving it away."""
    return hmac.new(key, b"stopgap timeline key", hashlib.sha256).hexdigest()


def to_json(entry: Entry) -> dict[str, Any]:
    """Return the entry as schemas/entry.schema.json describes it."""
    fields = ("chain", "number", "incident", "run", "step", "at", "kind", "actor", "text", "data", "key", "previous", "hash")
    return {name: format_time(entry.at) if name == "at" else getattr(entry, name) for name in fields}


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _storable(text: str) -> str:
    """PostgreSQL stores neither NUL nor half of a surrogate pair; foreign text may hold both."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def _data(draft: Draft) -> Mapping[str, Any]:
    try:
        return dict(json.loads(canonical(draft.data).encode("utf-8", "replace")))
    except (TypeError, ValueError, RecursionError) as error:
        raise kinds.EntryError(f"The data of an entry of kind {draft.kind} in {draft.chain} is not JSON: {error}") from error
