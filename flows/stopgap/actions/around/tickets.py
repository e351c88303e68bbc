"""Actions on tickets: open one for the incident, comment on it, close it. Each incident has one ticket in a tracker, whoever asks for it how often."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions.around import site as sites
from stopgap.actions.around.tracker import Ticket, Tracker, connect
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action

PERMISSIONS = {
    "jira": ["Browse Projects, Create Issues, Add Comments and Transition Issues in the project"],
    "servicenow": ["read, create and write the table (role itil for incident), and read sys_journal_field"],
}
TrackerName = Annotated[str, Field(min_length=1, description="The name of a tracker in policy.yaml.")]
Key = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="The ticket, like OPS-12; the incident's own one if left out.",
    ),
]


@action
class TicketOpen:
    """Open a ticket for the incident, unless it has an open one."""

    name: ClassVar[str] = "ticket.open"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=2)
    permissions: ClassVar[Mapping[str, Any]] = PERMISSIONS
    outputs: ClassVar[Mapping[str, str]] = {"ticket": "its key, like OPS-12", "url": "where people read it"}

    title: Annotated[str, Field(min_length=1, max_length=160, pattern=r"^[^\r\n]*$", description="The ticket's title.")]
    text: Annotated[str, Field(max_length=20_000, description="What it says.")] = ""
    tracker: TrackerName = "default"

    def targets(self) -> frozenset[Target]:
        """None: runs of several incidents work in one tracker at once."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Look whether the incident has an open ticket."""
        found = self._existing(context, connect(context, self.tracker))
        after = {"ticket": f"a new one in {self.tracker}", "title": self.title, "text": self.text}
        if found:
            after = {"ticket": found.key}
            return Change(summary=f"{found.key} is open already: {found.title}", now=after, after=after)
        return Change(
            summary=f"open a ticket: {self.title}",
            now=dict.fromkeys(after, "none"),
            after=after,
            undo={"label": _label(context, self.tracker)},
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Open it, with two labels: the incident's and our mark. What is there already is not opened again."""
        tracker = connect(context, self.tracker)
        found = self._existing(context, tracker)
        if found:
            return Outcome(changed=False, summary=f"{found.key} is open already: {found.url}", data=_data(found))
        labels = (_label(context, self.tracker), sites.mark(context))
        made = tracker.open(title=self.title, text=f"{self.text}\n\n-- stopgap, {context.mark}".strip(), labels=labels)
        return Outcome(changed=True, summary=f"opened {made.key}: {made.url}", data=_data(made))

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for a ticket with our mark, for as long as the tracker's search may not know a new one (Jira: 15 s, `settle` of policy.yaml)."""
        tracker = connect(context, self.tracker)
        ends = context.clock.monotonic() + tracker.settles
        while not tracker.find(_label(context, self.tracker), sites.mark(context)):
            if context.clock.monotonic() >= ends:
                return Probe.NOT_DONE
            context.clock.sleep(min(1.0, tracker.settles))
        return Probe.DONE

    def undo(self, change: Change) -> Action | None:
        """Close the ticket; what the tracker knows of it stays."""
        if change.is_empty:
            return None
        return TicketClose(tracker=self.tracker, text="Closed by stopgap: the step that opened it was taken back.")

    def _existing(self, context: Context, tracker: Tracker) -> Ticket | None:
        return next(iter(tracker.find(_label(context, self.tracker), is_open=True)), None)


@action
class TicketComment:
    """Add a comment to the incident's ticket, or to another one."""

    name: ClassVar[str] = "ticket.comment"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=2)
    permissions: ClassVar[Mapping[str, Any]] = PERMISSIONS
    outputs: ClassVar[Mapping[str, str]] = {"ticket": "its key, like OPS-12", "url": "where people read it"}

    text: Annotated[str, Field(min_length=1, max_length=20_000, description="The comment.")]
    ticket: Key = None
    tracker: TrackerName = "default"

    def targets(self) -> frozenset[Target]:
        """None: many may comment on one ticket at once."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Read the ticket, and show the comment. A dry run of a runbook that opens the ticket itself finds none yet, and says so."""
        found = _planned(context, self.ticket, self.tracker)
        after = {"ticket": found.key, "comment": self.text}
        return Change(summary=f"comment on {found.key}: {_first(self.text)}", now={**after, "comment": "not said"}, after=after)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Say it, with our mark in its last line, unless it stands there already."""
        tracker = connect(context, self.tracker)
        found = tracker.read(change.after["ticket"])
        is_said = tracker.has_said(found, sites.mark(context))
        if not is_said:
            tracker.comment(found, f"{self.text}\n\n-- stopgap, {sites.mark(context)}")
        return Outcome(changed=not is_said, summary=f"commented on {found.key}: {found.url}", data=_data(found))

    def probe(self, context: Context, change: Change) -> Probe:
        """Look through the ticket's comments for our mark."""
        tracker = connect(context, self.tracker)
        is_said = tracker.has_said(tracker.read(change.after["ticket"]), sites.mark(context))
        return Probe.DONE if is_said else Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """What was said was said."""
        return None


@action
class TicketClose:
    """Close the incident's ticket, or another one."""

    name: ClassVar[str] = "ticket.close"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=2)
    permissions: ClassVar[Mapping[str, Any]] = PERMISSIONS
    outputs: ClassVar[Mapping[str, str]] = {"ticket": "its key, like OPS-12", "url": "where people read it"}

    text: Annotated[str, Field(min_length=1, max_length=20_000, description="The last word on it.")] = "Closed by stopgap."
    ticket: Key = None
    tracker: TrackerName = "default"

    def targets(self) -> frozenset[Target]:
        """None: a ticket that is closed twice is closed."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Read the ticket. A dry run of a runbook that opens it itself finds none yet, and says so."""
        found = _planned(context, self.ticket, self.tracker)
        after = {"ticket": found.key, "state": "closed"}
        if found.is_closed:
            return Change(summary=f"{found.key} is closed already", now=after, after=after)
        return Change(summary=f"close {found.key}: {_first(self.text)}", now={**after, "state": "open"}, after=after)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Close it, unless it is closed."""
        tracker = connect(context, self.tracker)
        found = tracker.read(change.after["ticket"])
        if not found.is_closed:
            tracker.close(found, f"{self.text}\n\n-- stopgap, {sites.mark(context)}")
        return Outcome(changed=not found.is_closed, summary=f"closed {found.key}: {found.url}", data=_data(found))

    def probe(self, context: Context, change: Change) -> Probe:
        """Read the ticket: closed is done, whoever closed it."""
        is_closed = connect(context, self.tracker).read(change.after["ticket"]).is_closed
        return Probe.DONE if is_closed else Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """How a closed ticket is opened again is different in every tracker: a human does it."""
        return None


def _planned(context: Context, key: str | None, name: str) -> Ticket:
    tracker = connect(context, name)
    if key is None and context.is_dry and not tracker.find(_label(context, name)):
        return Ticket(key="the incident's ticket", id="", title="", status="not opened yet", url="", is_closed=False)
    return _wanted(context, tracker, key, name)


def _wanted(context: Context, tracker: Tracker, key: str | None, name: str) -> Ticket:
    if key:
        return tracker.read(key)
    label = _label(context, name)
    found = (*tracker.find(label, is_open=True), *tracker.find(label))
    if not found:
        raise PermanentError(
            f'{sites.incident(context)} has no ticket in the tracker "{name}".\nOpen one first, with a step that uses ticket.open, or name one:  ticket: KEY'
        )
    return found[0]


def _label(context: Context, name: str) -> str:
    return sites.label(context, sites.find(context, "trackers", name))


def _data(ticket: Ticket) -> dict[str, Any]:
    return {"ticket": ticket.key, "url": ticket.url}


def _first(text: str) -> str:
    return text.strip().splitlines()[0][:100] if text.strip() else "no text"
