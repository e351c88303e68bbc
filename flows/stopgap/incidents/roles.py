"""Who holds which role in an incident: a fold over its chain, up to any moment."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stopgap.policy.model import PersonId, RoleName
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from stopgap.incidents.model import IncidentId
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Entry

COMMANDER = RoleName("incident-commander")


class Act(enum.StrEnum):
    """What happened to a role."""

    OFFERED = "offered"  # it is to change hands; it does once the other accepts
    ACCEPTED = "accepted"
    DECLINED = "declined"
    TAKEN = "taken"  # somebody who may hold it took it by themselves
    LEFT = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Somebody who holds a role, or to whom it is offered: since when, and who gave it to them."""

    role: RoleName
    person: PersonId
    by: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The roles of an incident at a moment.

    `relieved` are those who held a role here and no longer do. `changes` counts a role's entries: the next one is keyed by it, so that one
    of two wins.
    """

    held: Mapping[RoleName, Holder] = field(default_factory=dict)
    offered: Mapping[RoleName, Holder] = field(default_factory=dict)
    relieved: Mapping[RoleName, frozenset[PersonId]] = field(default_factory=dict)
    changes: Mapping[RoleName, int] = field(default_factory=dict)

    def holder(self, role: RoleName) -> PersonId | None:
        """Return who holds the role in this incident; None when nobody took it or was given it."""
        found = self.held.get(role)
        return found.person if found else None

    def of(self, person: PersonId) -> tuple[RoleName, ...]:
        """Return the roles that this person holds in the incident."""
        return tuple(role for role, holder in self.held.items() if holder.person == person)


def fold(entries: Iterable[Entry], *, at: datetime | None = None) -> Roles:
    """Read the roles from an incident's chain, as they are, or as they were at a moment."""
    held: dict[RoleName, Holder] = {}
    offered: dict[RoleName, Holder] = {}
    relieved: dict[RoleName, frozenset[PersonId]] = {}
    changes: dict[RoleName, int] = {}
    for entry in entries:
        if entry.kind != "incident.role" or (at is not None and entry.at > at):
            continue
        role, act = RoleName(entry.data["role"]), Act(entry.data["act"])
        changes[role] = changes.get(role, 0) + 1
        holder = Holder(role=role, person=PersonId(entry.data["person"]), by=entry.actor, since=entry.at)
        offered.pop(role, None)
        if act is Act.OFFERED:
            offered[role] = holder
        elif act is not Act.DECLINED:
            before = held.pop(role, None)
            relieved[role] = (relieved.get(role, frozenset()) | ({before.person} if before else set())) - {holder.person}
            if act is Act.LEFT:
                relieved[role] |= {holder.person}
            else:
                held[role] = holder
    return Roles(held=held, offered=offered, relieved=relieved, changes=changes)


def change(  # noqa: PLR0913  an entry's parts, all by keyword
    incident: IncidentId, found: Roles, *, role: RoleName, person: PersonId, act: Act, by: str, text: str, reason: str = ""
) -> Draft:
    """Return the entry of a change that was decided on `found`; whoever decided on the same and is later does not win its key."""
    return Draft(
        chain=incident,
        incident=incident,
        kind="incident.role",
        actor=by,
        key=f"incident.role/{incident}/{role}/{found.changes.get(role, 0) + 1}",
        text=text,
        data={"role": role, "person": person, "act": str(act), "reason": reason},
    )


def acting(policy: Policy, found: Roles, role: RoleName) -> tuple[PersonId, ...]:
    """Return who may act as this role now: whoever holds it in the incident, then policy's holders and deputies.

    A holder who handed it over or left it in this incident no longer counts, unless policy names them as a deputy too.
    """
    named = policy.roles.get(role)
    if named is None:
        return ()
    holder = found.holder(role)
    first = [holder] if holder in named.people else []
    holders = [person for person in named.holders if person not in found.relieved.get(role, frozenset())]
    return tuple(dict.fromkeys([*filter(None, first), *holders, *named.deputies]))
