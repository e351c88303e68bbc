"""What an open incident calls for as time goes by: an update that is due, a checkpoint of its commander, the next ring of a page.

All of it is computed from the incident's chain and the clock. Each is an entry with a key of its own: of several workers that find it due one
writes it, and what was slept through is not made up for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.clock import format_duration
from stopgap.incidents import paging, roles, updates
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from stopgap.incidents.model import Incident
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Entry


def due(incident: Incident, entries: Sequence[Entry], policy: Policy, *, now: datetime) -> tuple[Draft, ...]:
    """Return what is due now and was not written yet; nothing for drills and for what is over."""
    if incident.is_drill or incident.resolved_at is not None:
        return ()
    written = {entry.key for entry in entries}
    found = (*_update(incident, entries, policy, now), *_checkpoint(incident, policy, now), *_rings(incident, entries, policy, now))
    return tuple(draft for draft in found if draft.key not in written)


def _update(incident: Incident, entries: Sequence[Entry], policy: Policy, now: datetime) -> Iterator[Draft]:
    found = updates.due(incident, updates.sent(entries), policy.incidents, now=now)
    if found and found.reminder:
        last = "the last one" if found.number > 1 else f"{incident.id} was opened"
        text = f"An update of {incident.id} is due: {format_duration(found.every * found.reminder)} have gone by since {last}"
        key = f"update.due/{incident.id}/{incident.severity}/{found.number}/{found.reminder}"
        yield _draft(incident, "update.due", text, key=key, data={"number": found.number, "reminder": found.reminder})


def _checkpoint(incident: Incident, policy: Policy, now: datetime) -> Iterator[Draft]:
    """Until it is mitigated."""
    every = policy.incidents.checkpoints.get(incident.severity)
    number = (now - incident.opened_at) // every if every else 0
    if number > 0 and incident.mitigated_at is None:
        age = format_duration(number * every) if every else ""
        text = (
            f"Checkpoint of {incident.id}, open for {age}: is {incident.severity} still right, does everybody know what they do, "
            "what do we try next and when do we turn back?"
        )
        key = f"checkpoint.due/{incident.id}/{incident.severity}/{number}"
        yield _draft(incident, "checkpoint.due", text, key=key, data={"number": number})


def _rings(incident: Incident, entries: Sequence[Entry], policy: Policy, now: datetime) -> Iterator[Draft]:
    held = roles.fold(entries)
    for page in paging.fold(entries):
        if draft := paging.ring(incident, page, policy, held, now=now):
            yield draft


def _draft(incident: Incident, kind: str, text: str, *, key: str, data: dict[str, int]) -> Draft:
    return Draft(chain=incident.id, incident=incident.id, kind=kind, actor="stopgap", text=text, key=key, data=data)
