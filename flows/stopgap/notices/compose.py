"""An entry of the timeline as a notice: to whom, and in which words. Most entries are none; drills and dry runs never are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stopgap.approvals import gate as gates
from stopgap.approvals import lapse
from stopgap.approvals.entitled import Side, may_decide
from stopgap.incidents import fold
from stopgap.incidents.model import Mode
from stopgap.policy.model import Event, PersonId, RoleName
from stopgap.runbook.model import StepId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from stopgap.approvals.model import Gate
    from stopgap.incidents.model import Run
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Entry, Timeline

EVENTS = {
    "gate.asked": Event.ASK,
    "gate.reminded": Event.REMIND,
    "gate.escalated": Event.ESCALATE,
    "gate.voided": Event.VOID,
    "gate.lapsed": Event.VOID,
    "gate.decided": Event.DECIDE,
    "gate.expired": Event.DECIDE,
    "incident.role": Event.ROLE,
    "responder.enrolled": Event.ENROL,
    "responder.revoked": Event.ENROL,
    "responder.guessed": Event.WRONG_CODE,
}
_WAITING = frozenset({Event.ASK, Event.REMIND, Event.ESCALATE})  # nobody needs them once the question is closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Somebody or some channel: `name` is what entries call it, `written` its address as the policy in `folder` has it."""

    name: str
    written: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is to be said about an entry, and to whom. `id` is the entry's place in the timeline."""

    about: Entry
    event: Event
    title: str
    body: str
    targets: tuple[Target, ...]

    @property
    def id(self) -> str:
        """The same for whoever composes it."""
        return f"{self.about.chain}#{self.about.number}"


def notice(timeline: Timeline, policy: Policy, entry: Entry, *, now: datetime, link: str = "") -> Notice | None:
    """Compose the notice of an entry; None when nobody is to be told, or not any more."""
    event = EVENTS.get(entry.kind)
    if event is None or entry.chain.startswith("DRILL-"):
        return None
    if entry.data.get("break_glass"):
        event = Event.BREAK_GLASS
    run = fold.run(timeline.of_run(entry.run)) if entry.run else None
    if run and run.mode is not Mode.LIVE:
        return None
    people = _people(timeline, policy, entry, event, now)
    if people is None:
        return None
    title, body = _words(timeline, entry, event, run, link)
    return Notice(about=entry, event=event, title=title, body=body, targets=tuple(_targets(policy, event, people)))


def _people(timeline: Timeline, policy: Policy, entry: Entry, event: Event, now: datetime) -> Iterable[PersonId] | None:
    if event is Event.BREAK_GLASS:
        return policy.people
    if not entry.kind.startswith("gate."):
        return [PersonId(entry.data["person"]), PersonId(entry.actor)]
    entries = timeline.of_run(entry.run)
    gate = gates.latest(entries, StepId(entry.step))
    if gate is None:
        return None
    side = Side.of(policy, timeline.of_chain(entry.chain), now=now)
    if event in _WAITING:
        is_open = gate.is_open and gate.round == entry.data["round"] and now < gate.expires_at
        return _waited_for(timeline, gate, side, entry) if is_open else None
    answered = [each.actor for each in entries if each.kind == "gate.answered" and each.step == entry.step]
    return [*map(PersonId, answered), *(may_decide(gate, side) if event is Event.DECIDE else ())]


def _waited_for(timeline: Timeline, gate: Gate, side: Side, entry: Entry) -> Sequence[PersonId]:
    if entry.kind == "gate.escalated":
        return side.acting(RoleName(entry.data["to"]))
    given = lapse.seen(timeline, gate, side).approved_by
    return [person for person in may_decide(gate, side) if person not in given]


def _targets(policy: Policy, event: Event, people: Iterable[PersonId]) -> list[Target]:
    found: dict[str, Target] = {}
    folder = policy.path.absolute().parent if policy.path else Path.cwd()
    for person in dict.fromkeys(people):
        known = policy.people.get(person)
        for number, written in enumerate(known.notify if known else (), start=1):
            name = person if number == 1 else f"{person} ({number})"
            found.setdefault(written, Target(name=name, written=written, folder=folder))
    for channel in policy.channels:
        if event in channel.events or event is Event.BREAK_GLASS:
            found.setdefault(channel.url, Target(name=channel.name, written=channel.url, folder=folder))
    return list(found.values())


def _words(timeline: Timeline, entry: Entry, event: Event, run: Run | None, link: str) -> tuple[str, str]:
    incident = fold.incident(timeline.of_chain(entry.chain)) if entry.incident else None
    head = f"{incident.id} {incident.severity}: {incident.title}" if incident else "stopgap"
    mark = {Event.ASK: "decide, please", Event.REMIND: "still waiting", Event.ESCALATE: "decide, please", Event.BREAK_GLASS: "BREAK GLASS"}
    title = _line(f"{head} - {mark[event]}" if event in mark else head)
    lines = [_line(entry.text)]
    if run and event in _WAITING:
        lines += [f"Look and answer: {link}" if link else "", f"or type:  stopgap approve {run.id}   (or stopgap reject {run.id})"]
    elif entry.kind == "incident.role" and entry.data["act"] == "offered":
        lines.append(f"Acknowledge it:  stopgap incident accept {entry.incident} {entry.data['role']}")
    elif event is Event.WRONG_CODE:
        lines.append(
            "If it was not you, somebody tries to answer in your name. An administrator can end your enrolment:  stopgap responder revoke"
        )
    return title, "\n".join(line for line in lines if line)


def _line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
