"""An entry of the timeline as a notice: to whom, and in which words. Most entries are none; drills and dry runs never are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from stopgap.incidents import fold
from stopgap.incidents.model import Mode
from stopgap.notices import audience
from stopgap.notices.audience import WAITING, Target
from stopgap.policy.model import Event

if TYPE_CHECKING:
    from stopgap.incidents.model import Incident, Run
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
    "incident.opened": Event.INCIDENT,
    "incident.severity": Event.INCIDENT,
    "incident.mitigated": Event.INCIDENT,
    "incident.resolved": Event.INCIDENT,
    "update.sent": Event.UPDATE,
    "update.due": Event.UPDATE_DUE,
    "checkpoint.due": Event.CHECKPOINT,
    "task.added": Event.TASK,
    "page.rung": Event.PAGE,
    "page.acknowledged": Event.PAGE,
}
_MARKS = {
    Event.ASK: "decide, please",
    Event.REMIND: "still waiting",
    Event.ESCALATE: "decide, please",
    Event.BREAK_GLASS: "BREAK GLASS",
    Event.UPDATE: "update",
    Event.UPDATE_DUE: "an update is due",
    Event.CHECKPOINT: "checkpoint",
    Event.TASK: "a task for you",
    Event.PAGE: "PAGE",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is to be said about an entry, and to whom. `id` is the entry's place in the timeline.

    `thread` names what services take for one and the same: a page, however often it rings; `closes` says that it is over. `acknowledge` is,
    by person, the link with which they acknowledge a page: a secret between stopgap and them.
    """

    about: Entry
    event: Event
    title: str
    body: str
    targets: tuple[Target, ...]
    thread: str = ""
    closes: bool = False
    acknowledge: str = ""

    @property
    def id(self) -> str:
        """The same for whoever composes it."""
        return f"{self.about.chain}#{self.about.number}"

    def body_for(self, target: Target, timeline: Timeline) -> str:
        """Return the words for one of them."""
        if not self.acknowledge or not target.person:
            return self.body
        link = f"{self.acknowledge}/{target.person}/{timeline.token(purpose(self.thread, target.person))}"
        return f"Acknowledge: {link}\n{self.body}"


def purpose(page: str, person: str) -> str:
    """Return what the token in a link is for: it acknowledges this page as this person, and is good for nothing else."""
    return f"acknowledge/{page}/{person}"


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
    targets = audience.targets(timeline, policy, entry, event, now=now)
    if targets is None:
        return None
    title, body = _words(timeline, policy, entry, event, run, link)
    page, url = entry.data.get("page", ""), policy.incidents.url
    return Notice(
        about=entry,
        event=event,
        title=title,
        body=body,
        targets=tuple(targets),
        thread=page,
        closes=entry.kind == "page.acknowledged",
        acknowledge=f"{url}/pages/{page}" if url and entry.kind == "page.rung" else "",
    )


def _words(timeline: Timeline, policy: Policy, entry: Entry, event: Event, run: Run | None, link: str) -> tuple[str, str]:  # noqa: PLR0913, PLR0917  what a notice is made of
    incident = fold.incident(timeline.of_chain(entry.chain)) if entry.incident else None
    if incident and event is Event.UPDATE:
        return _update(incident, policy, entry)
    head = f"{incident.id} {incident.severity}: {incident.title}" if incident else "stopgap"
    title = _line(f"{head} - {_MARKS[event]}" if event in _MARKS else head)
    lines = [_line(entry.text), _line(entry.data.get("why", "")) if entry.kind == "page.rung" else ""]
    if run and event in WAITING:
        lines += [f"Look and answer: {link}" if link else "", f"or type:  stopgap approve {run.id}   (or stopgap reject {run.id})"]
    elif entry.kind == "incident.role" and entry.data["act"] == "offered":
        lines.append(f"Acknowledge it:  stopgap incident accept {entry.incident} {entry.data['role']}")
    elif event is Event.WRONG_CODE:
        lines.append(
            "If it was not you, somebody tries to answer in your name. An administrator can end your enrolment:  stopgap responder revoke"
        )
    elif hint := _HINTS.get(entry.kind):
        lines.append(hint.format(incident=entry.incident, task=entry.data.get("task", "")))
    if incident and policy.incidents.url and event is not Event.WRONG_CODE and entry.kind in _HINTS:
        lines.append(f"The incident: {policy.incidents.url}/incidents/{incident.id}")
    return title, "\n".join(line for line in lines if line)


_HINTS = {
    "incident.opened": "Look after it:  stopgap incident ack {incident}",
    "page.rung": "or type:  stopgap incident ack {incident}",
    "update.due": "Send it:  stopgap incident update {incident} --audience internal 'what is known'",
    "checkpoint.due": "Write down what was decided:  stopgap incident note {incident} '...'",
    "task.added": "When it is done:  stopgap incident task done {incident} {task}",
}


def _update(incident: Incident, policy: Policy, entry: Entry) -> tuple[str, str]:
    """The public hears what was approved, and no name of an incident; people inside hear where it stands too."""
    data, every = entry.data, policy.incidents.updates.get(incident.severity)
    lines = [_line(data["text"])]
    if data["eta"]:
        lines.append(f"Expected to be over: {_moment(datetime.fromisoformat(data['eta']))}.")
    if data["audience"] == "public":
        return f"Update, {_moment(entry.at)}", "\n".join(lines)
    if every:
        lines.append(f"Next update: {_moment(entry.at + every)}.")
    if policy.incidents.url:
        lines.append(f"The incident: {policy.incidents.url}/incidents/{incident.id}")
    return _line(f"{incident.id} {incident.severity}, {incident.stage}: {incident.title}"), "\n".join(lines)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
