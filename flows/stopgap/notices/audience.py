"""Who is told of an entry, and at which addresses. Of a restricted incident, only those for whom policy restricts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stopgap.approvals import gate as gates
from stopgap.approvals import lapse
from stopgap.approvals.entitled import Side, may_decide
from stopgap.incidents import fold, paging
from stopgap.incidents.roles import COMMANDER
from stopgap.policy.model import Event, PersonId, RoleName
from stopgap.runbook.model import StepId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from stopgap.approvals.model import Gate
    from stopgap.incidents.model import Incident
    from stopgap.policy.model import Channel, Person, Policy
    from stopgap.timeline.entry import Entry, Timeline

WAITING = frozenset({Event.ASK, Event.REMIND, Event.ESCALATE})  # nobody needs them once the question is closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Somebody or some channel: `name` is what entries call it, `written` its address as the policy in `folder` has it.

    `person` is empty for a channel; `is_service` for one that wakes people by itself.
    """

    name: str
    written: str
    folder: Path
    person: str = ""
    is_service: bool = False


def targets(timeline: Timeline, policy: Policy, entry: Entry, event: Event, *, now: datetime) -> list[Target] | None:
    """Return everybody who is to be told; None when nobody needs it any more."""
    found = people(timeline, policy, entry, event, now)
    if found is None:
        return None
    chain = timeline.of_chain(entry.chain) if entry.incident else ()
    incident, side = fold.incident(chain), Side.of(policy, chain, now=now)
    is_restricted = incident is not None and incident.restricted
    if is_restricted:
        able = {person for role in (*policy.incidents.restricted, *side.held.held) for person in side.acting(role)}
        found = [person for person in found if person in able]
    folder = policy.path.absolute().parent if policy.path else Path.cwd()
    all_of_them: dict[str, Target] = {}
    for target in (*_of_people(policy, event, found, folder), *_services(policy, entry, event, folder)):
        all_of_them.setdefault(target.written, target)
    for channel in policy.channels:
        if _hears(channel, entry, event, incident):
            all_of_them.setdefault(channel.url, Target(name=channel.name, written=channel.url, folder=folder))
    return list(all_of_them.values())


def people(timeline: Timeline, policy: Policy, entry: Entry, event: Event, now: datetime) -> Iterable[PersonId] | None:
    """Return the people whom an entry concerns; None when it concerns nobody any more."""
    if event is Event.BREAK_GLASS:
        return policy.people
    if entry.kind.startswith("gate."):
        return _of_gate(timeline, policy, entry, event, now)
    if event is Event.PAGE:
        return _of_page(timeline, entry)
    side = Side.of(policy, timeline.of_chain(entry.chain), now=now)
    found: dict[Event, tuple[PersonId, ...]] = {
        Event.INCIDENT: (),
        Event.UPDATE: (),
        Event.UPDATE_DUE: side.acting(policy.incidents.communications) or _commander(side),
        Event.CHECKPOINT: _commander(side),
        Event.TASK: (PersonId(entry.data.get("owner", "")),),
    }
    return found[event] if event in found else (PersonId(entry.data["person"]), PersonId(entry.actor))


def _commander(side: Side) -> tuple[PersonId, ...]:
    """Whoever commands, otherwise all who could."""
    holder = side.held.holder(COMMANDER)
    return (holder,) if holder else side.acting(COMMANDER)


def _of_page(timeline: Timeline, entry: Entry) -> Iterable[PersonId] | None:
    """Whoever is woken; and everybody who was, once somebody has acknowledged."""
    page = next((each for each in paging.fold(timeline.of_chain(entry.chain)) if each.id == entry.data["page"]), None)
    if page is None or (entry.kind == "page.rung" and page.acknowledged_at):
        return None
    return page.people if entry.kind == "page.acknowledged" else map(PersonId, entry.data["people"])


def _of_gate(timeline: Timeline, policy: Policy, entry: Entry, event: Event, now: datetime) -> Iterable[PersonId] | None:
    entries = timeline.of_run(entry.run)
    gate = gates.latest(entries, StepId(entry.step))
    if gate is None:
        return None
    side = Side.of(policy, timeline.of_chain(entry.chain), now=now)
    if event in WAITING:
        is_open = gate.is_open and gate.round == entry.data["round"] and now < gate.expires_at
        return _waited_for(timeline, gate, side, entry) if is_open else None
    answered = [each.actor for each in entries if each.kind == "gate.answered" and each.step == entry.step]
    return [*map(PersonId, answered), *(may_decide(gate, side) if event is Event.DECIDE else ())]


def _waited_for(timeline: Timeline, gate: Gate, side: Side, entry: Entry) -> Sequence[PersonId]:
    if entry.kind == "gate.escalated":
        return side.acting(RoleName(entry.data["to"]))
    given = lapse.seen(timeline, gate, side).approved_by
    return [person for person in may_decide(gate, side) if person not in given]


def _of_people(policy: Policy, event: Event, found: Iterable[PersonId], folder: Path) -> Iterator[Target]:
    for person in dict.fromkeys(found):
        for number, written in enumerate(_addresses(policy.people.get(person), event), start=1):
            yield Target(name=person if number == 1 else f"{person} ({number})", written=written, folder=folder, person=person)


def _addresses(person: Person | None, event: Event) -> tuple[str, ...]:
    if person is None:
        return ()
    return (person.page or person.notify) if event is Event.PAGE else person.notify


def _services(policy: Policy, entry: Entry, event: Event, folder: Path) -> Iterator[Target]:
    role = RoleName(entry.data.get("role", ""))
    found = policy.on_call.get(role) if event is Event.PAGE else None
    for number, written in enumerate(found.page if found else (), start=1):
        yield Target(name=f"{role}'s service{f' ({number})' if number > 1 else ''}", written=written, folder=folder, is_service=True)


def _hears(channel: Channel, entry: Entry, event: Event, incident: Incident | None) -> bool:
    is_public = event is Event.UPDATE and entry.data.get("audience") == "public"
    if channel.audience == "public" or is_public:
        return is_public and event in channel.events
    if incident and ((incident.restricted and not channel.restricted) or incident.severity not in channel.severities):
        return False
    return event in channel.events or event is Event.BREAK_GLASS
