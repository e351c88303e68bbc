"""Pages of an incident: whose turn it is to be woken, how often, and who acknowledged. Folds over its chain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stopgap.incidents import roles
from stopgap.policy.model import PersonId, RoleName
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from stopgap.incidents.model import Incident
    from stopgap.incidents.roles import Roles
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Entry, Timeline

MOST = 24  # times; then somebody else must have noticed


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A role that is to be woken. `rung` is how often it was, `people` everybody who was; `acknowledged_by` is empty as long as nobody did."""

    id: str
    role: RoleName
    by: str
    why: str
    asked_at: datetime
    rung: int = 0
    people: tuple[PersonId, ...] = ()
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None


def fold(entries: Iterable[Entry]) -> tuple[Page, ...]:
    """Return the pages of an incident, the first first. What is resolved needs nobody awake, and ends them."""
    found: dict[str, Page] = {}
    for entry in entries:
        name = entry.data.get("page", "")
        if entry.kind == "page.asked":
            found[name] = Page(id=name, role=RoleName(entry.data["role"]), by=entry.actor, why=entry.data["why"], asked_at=entry.at)
        elif entry.kind == "page.rung" and name in found:
            people = dict.fromkeys([*found[name].people, *map(PersonId, entry.data["people"])])
            found[name] = replace(found[name], rung=entry.data["ring"], people=tuple(people))
        elif entry.kind == "page.acknowledged" and name in found:
            found[name] = replace(found[name], acknowledged_by=entry.actor, acknowledged_at=entry.at)
    return tuple(found.values())


def ask(timeline: Timeline, incident: Incident, *, role: RoleName, by: str, why: str, key: str) -> Entry:  # noqa: PLR0913  a page's parts
    """Have a role paged, once for each key; a worker does it."""
    if already := timeline.find(f"page.asked/{key}"):
        return already
    name = f"{incident.id}.p{timeline.next_number(f'{incident.id} page')}"
    text = f"{role} is to be paged{f': {why}' if why else ''}"
    data = {"page": name, "role": role, "why": why}
    return timeline.append(_draft(incident, "page.asked", text, actor=by, key=f"page.asked/{key}", data=data)).entry


def ring(incident: Incident, page: Page, policy: Policy, held: Roles, *, now: datetime) -> Draft | None:
    """Return the entry of the ring that is due: the first at once, then another each `every`, each time one person more. None when none is.

    What was slept through is not made up for; whoever would have been added meanwhile is.
    """
    turn = (now - page.asked_at) // policy.incidents.page_every + 1
    if page.acknowledged_at or incident.resolved_at or turn <= page.rung or turn > MOST:
        return None
    people = order(policy, held, page.role, now=now)[:turn]
    who = ", ".join(people) or "nobody: policy.yaml names no one"
    service = " and its service" if page.role in policy.on_call and policy.on_call[page.role].page else ""
    text = f"Paged {who}{service} for {page.role}{'' if turn == 1 else f', time {turn}'}: nobody has acknowledged"
    key = f"page.rung/{page.id}/{turn}"
    return _draft(
        incident,
        "page.rung",
        text,
        actor="stopgap",
        key=key,
        data={"page": page.id, "role": page.role, "ring": turn, "why": page.why, "people": list(people)},
    )


def acknowledged(incident: Incident, page: Page, *, person: str, channel: str) -> Draft:
    """Return the entry that ends a page; of several the first counts."""
    text = f"{person} acknowledged the page of {page.role} by {channel}"
    return _draft(
        incident, "page.acknowledged", text, actor=person, key=f"page.acknowledged/{page.id}", data={"page": page.id, "role": page.role}
    )


def concerns(page: Page, policy: Policy, held: Roles, person: str) -> bool:
    """Say whether this person's word ends the page: they were woken, may act as the role, or nobody asked for it by hand."""
    return page.by == "stopgap" or person in page.people or person in roles.acting(policy, held, page.role)


def order(policy: Policy, held: Roles, role: RoleName, *, now: datetime) -> tuple[PersonId, ...]:
    """Return whom to wake first, and whom as well later: who holds the role in the incident, who is on call, then holders and deputies."""
    on_call = policy.on_call[role].at(now) if role in policy.on_call else None
    return tuple(dict.fromkeys(person for person in (held.holder(role), on_call, *roles.acting(policy, held, role)) if person))


def _draft(incident: Incident, kind: str, text: str, *, actor: str, key: str, data: Mapping[str, object]) -> Draft:  # noqa: PLR0913  an entry's parts
    return Draft(chain=incident.id, incident=incident.id, kind=kind, actor=actor, text=text, key=key, data=data)
