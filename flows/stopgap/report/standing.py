"""An incident's chain -> where it stands: one value that holds all that the incident page and `stopgap incident show` tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap.approvals import entitled
from stopgap.approvals import gate as gates
from stopgap.incidents import fold, measures, paging, roles, tasks, updates
from stopgap.plan import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from stopgap.approvals.model import Gate
    from stopgap.incidents.measures import Measures
    from stopgap.incidents.model import Incident, Run, StepRecord
    from stopgap.incidents.paging import Page
    from stopgap.incidents.roles import Holder
    from stopgap.incidents.tasks import Task
    from stopgap.incidents.updates import Due, Update
    from stopgap.policy.model import PersonId, Policy
    from stopgap.timeline.entry import Entry

    Seen = Callable[[Gate, entitled.Side], Gate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert of the incident: `url` is what its source gave, and may be anything."""

    source: str
    key: str
    title: str
    url: str
    since: datetime
    is_firing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeShown:
    """One change that is asked about: a sentence, the lines of its diff, what to know."""

    name: str
    summary: str
    diff: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An open question: whom it waits for, and what it asks. `link` is where it is answered, empty when that is not known."""

    gate: Gate
    waits_for: tuple[PersonId, ...]
    why: str
    targets: tuple[str, ...]
    changes: tuple[ChangeShown, ...]
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A run of the incident, with the steps it has come to. `link` is where it is seen in Prefect."""

    run: Run
    steps: tuple[StepRecord, ...]
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that is kept with the incident."""

    name: str
    size: int
    sha256: str
    at: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an incident stands at the moment `now`. `number` is that of its last entry."""

    incident: Incident
    now: datetime
    number: int
    roles: tuple[Holder, ...]
    offered: tuple[Holder, ...]
    alerts: tuple[Alert, ...]
    runs: tuple[Running, ...]
    waiting: tuple[Waiting, ...]
    tasks: tuple[Task, ...]
    pages: tuple[Page, ...]
    updates: tuple[Update, ...]
    due: Due | None
    attachments: tuple[Attachment, ...]
    measures: Measures
    entries: tuple[Entry, ...]

    @property
    def open_tasks(self) -> tuple[Task, ...]:
        """What is still to be done."""
        return tuple(task for task in self.tasks if task.done_at is None)


def _as_it_is(gate: Gate, _side: entitled.Side) -> Gate:
    return gate


def standing(
    entries: Sequence[Entry], policy: Policy, *, now: datetime, link: Callable[[str], str], seen: Seen = _as_it_is
) -> Standing | None:
    """Fold a chain; None when it holds no incident. `link` tells where a flow run is seen in Prefect's UI, `seen` which approvals still count."""
    incident = fold.incident(entries)
    if incident is None:
        return None
    held, so_far = roles.fold(entries), updates.sent(entries)
    runs = _runs(entries)
    side = entitled.Side.of(policy, entries, now=now)
    return Standing(
        incident=incident,
        now=now,
        number=entries[-1].number,
        roles=tuple(held.held.values()),
        offered=tuple(held.offered.values()),
        alerts=_alerts(entries),
        runs=tuple(_running(run, link) for run in runs),
        waiting=tuple(found for run in runs if (found := _waiting(run, entries, side, link, seen))),
        tasks=tasks.fold(entries),
        pages=paging.fold(entries),
        updates=so_far,
        due=updates.due(incident, so_far, policy.incidents, now=now),
        attachments=attachments(entries),
        measures=measures.of(incident),
        entries=tuple(entries),
    )


def attachments(entries: Sequence[Entry]) -> tuple[Attachment, ...]:
    """Return the files kept with the incident."""
    return tuple(
        Attachment(name=entry.data["name"], size=entry.data["size"], sha256=entry.data["sha256"], at=entry.at, by=entry.actor)
        for entry in entries
        if entry.kind == "attachment.added"
    )


def _runs(entries: Sequence[Entry]) -> list[Run]:
    """Return what may ask people: the runs, and the updates for the public."""
    names = dict.fromkeys(entry.run for entry in entries if entry.run)
    return [run for name in names if (run := fold.run(entry for entry in entries if entry.run == name))]


def _running(run: Run, link: Callable[[str], str]) -> Running:
    return Running(run=run, steps=tuple(run.steps.values()), link=link(run.flow_run) if run.flow_run else "")


def _waiting(run: Run, entries: Sequence[Entry], side: entitled.Side, link: Callable[[str], str], seen: Seen) -> Waiting | None:
    asked = gates.waiting(entry for entry in entries if entry.run == run.id)
    if asked is None or run.end is not None:
        return None
    gate = seen(asked, side)
    asks = gate.asks
    return Waiting(
        gate=gate,
        waits_for=tuple(person for person in entitled.may_decide(gate, side) if person not in gate.approved_by),
        why=str(asks.get("why", "")),
        targets=tuple(map(str, asks.get("targets", ()))),
        changes=tuple(_changes(asks, gate.step)),
        link=link(run.flow_run) if run.flow_run else "",
    )


def _changes(asks: Mapping[str, Any], step: str) -> list[ChangeShown]:
    members = asks.get("members") or ([{**asks, "name": step}] if asks.get("change") else [])
    return [_change(str(each.get("name", each.get("step", ""))), each["change"]) for each in members]


def _change(name: str, change: Mapping[str, Any]) -> ChangeShown:
    return ChangeShown(
        name=name,
        summary=str(change["summary"]),
        diff=explain.diff_lines(change["now"], change["after"]),
        notes=tuple(map(str, change.get("notes", ()))),
    )


def _alerts(entries: Sequence[Entry]) -> tuple[Alert, ...]:
    found: dict[tuple[str, str], Alert] = {}
    for entry in entries:
        if entry.kind not in {"alert.opened", "alert.resolved"}:
            continue
        name = entry.data["source"], entry.data["alert"]
        if entry.kind == "alert.opened":
            title = entry.text.partition(f" ({name[0]}) ")[0]
            found[name] = Alert(source=name[0], key=name[1], title=title, url=entry.data.get("url", ""), since=entry.at, is_firing=True)
        elif name in found:
            before = found[name]
            found[name] = Alert(source=name[0], key=name[1], title=before.title, url=before.url, since=before.since, is_firing=False)
    return tuple(found.values())
