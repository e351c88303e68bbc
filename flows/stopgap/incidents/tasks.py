"""What is to be done in an incident: by whom, until when. A fold over its chain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from stopgap.clock import format_time
from stopgap.problems import UsageError
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopgap.incidents.model import Incident
    from stopgap.timeline.entry import Entry, Timeline


class UnknownTaskError(UsageError):
    """There is no such task in the incident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Something to be done. `owner` may be empty; `done_at` is None as long as it is open."""

    id: str
    text: str
    owner: str
    due: datetime | None
    added_at: datetime
    added_by: str
    done_at: datetime | None = None
    done_by: str = ""


def fold(entries: Iterable[Entry]) -> tuple[Task, ...]:
    """Return the tasks of an incident, in the order in which they were added."""
    found: dict[str, Task] = {}
    for entry in entries:
        if entry.kind == "task.added":
            found[entry.data["task"]] = _added(entry)
        elif entry.kind == "task.done" and entry.data["task"] in found:
            found[entry.data["task"]] = replace(found[entry.data["task"]], done_at=entry.at, done_by=entry.actor)
    return tuple(found.values())


def add(timeline: Timeline, incident: Incident, *, person: str, text: str, owner: str, due: datetime | None) -> Entry:  # noqa: PLR0913  a task's parts
    """Write a task down; its name is T1, T2 and so on."""
    name = f"T{timeline.next_number(f'{incident.id} task')}"
    by = f", by {due:%Y-%m-%d %H:%M} UTC" if due else ""
    data = {"task": name, "text": text, "owner": owner, "due": format_time(due) if due else ""}
    said = f"{name} for {owner or 'nobody yet'}{by}: {text}"
    return _append(timeline, incident, "task.added", said, person=person, key=f"task.added/{incident.id}/{name}", data=data)


def finish(timeline: Timeline, incident: Incident, *, person: str, task: str) -> Entry:
    """Say that a task is done, once; whoever comes later gets the entry of the first. UnknownTaskError names those there are."""
    found = {each.id: each for each in fold(timeline.of_chain(incident.id))}
    if task not in found:
        known = ", ".join(each.id for each in found.values() if each.done_at is None) or "none"
        raise UnknownTaskError(f'{incident.id} has no task "{task}"; open are {known}. See them:  stopgap incident task list {incident.id}')
    said = f"{person} has done {task}: {found[task].text}"
    return _append(timeline, incident, "task.done", said, person=person, key=f"task.done/{incident.id}/{task}", data={"task": task})


def _added(entry: Entry) -> Task:
    data = entry.data
    return Task(
        id=data["task"],
        text=data["text"],
        owner=data["owner"],
        due=datetime.fromisoformat(data["due"]) if data["due"] else None,
        added_at=entry.at,
        added_by=entry.actor,
    )


def _append(timeline: Timeline, incident: Incident, kind: str, text: str, *, person: str, key: str, data: dict[str, str]) -> Entry:  # noqa: PLR0913  an entry's parts
    draft = Draft(chain=incident.id, incident=incident.id, kind=kind, actor=person, text=text, key=key, data=data)
    return timeline.append(draft).entry
