"""What lists leave out of restricted incidents for people whom policy does not let read of them. Nobody is asked to prove who they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stopgap.cli import asking
from stopgap.policy.model import PersonId, Policy
from stopgap.problems import ProblemsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopgap.incidents.model import Incident
    from stopgap.timeline.entry import Entry, Timeline

HIDDEN = "(restricted)"


def policy() -> Policy:
    """Return policy.yaml; without it or with a broken one people can still look after an incident."""
    try:
        return asking.policy()
    except (ProblemsError, UsageError, OSError):
        return Policy()


def may_read() -> bool:
    """Say whether whoever asks may act as one of the roles for which incidents are restricted."""
    found = policy()
    return PersonId(asking.me(None)) in {person for role in found.incidents.restricted for person in found.holders(role)}


def of_incident(found: Incident) -> Incident:
    """Return a restricted incident without what it is about."""
    return replace(found, title=HIDDEN, firing=frozenset()) if found.restricted else found


def of_recent(timeline: Timeline, recent: Sequence[tuple[Entry, Entry]]) -> tuple[tuple[Entry, Entry], ...]:
    """Return the first and last entries of chains, those of restricted incidents without their words."""
    names = {entry.chain for entry, _ in recent if entry.data.get("restricted")}
    for entry in timeline.of_kind("incident.restricted"):
        names = names | {entry.chain} if entry.data["restricted"] else names - {entry.chain}
    if names.isdisjoint(entry.chain for entry, _ in recent) or may_read():
        return tuple(recent)
    return tuple((_bare(first), _bare(last)) if first.chain in names else (first, last) for first, last in recent)


def _bare(entry: Entry) -> Entry:
    return replace(entry, text=HIDDEN, data={})
