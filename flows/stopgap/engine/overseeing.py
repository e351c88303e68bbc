"""Looks after open incidents beside the worker: reminds, pages, and sends what was approved. Any number of workers may do so at once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.approvals import publishing
from stopgap.incidents import fold, paging, reminding
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from stopgap.clock import Clock
    from stopgap.incidents.model import Incident
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Entry
    from stopgap.timeline.store import PostgresTimeline

LOG = logging.getLogger("stopgap.incidents")
_OVERLAP = timedelta(minutes=15)  # how far the clocks of two machines with one timeline may be apart


@dataclass(slots=True)
class Overseer:
    """Looks at every incident that is open, each time it is called. What it has read it does not read again."""

    timeline: PostgresTimeline
    clock: Clock
    policy: Callable[[], Policy | None]
    _open: dict[str, tuple[Entry, ...]] = field(default_factory=dict, init=False)
    _read_to: datetime | None = field(default=None, init=False)
    _trouble: dict[str, str] = field(default_factory=dict, init=False)

    def __call__(self) -> None:
        """Look."""
        self._read()
        lengths = self.timeline.lengths(*self._open) if self._open else {}
        for name, before in tuple(self._open.items()):
            entries = before
            if lengths.get(name, 0) != len(before):
                entries = (*before, *self.timeline.of_chain(name, after=len(before)))
            if _is_over(entries):
                del self._open[name]
                continue
            self._open[name] = entries
            self._look_after(name, entries)

    def _read(self) -> None:
        now = self.clock.now()
        since = self._read_to - _OVERLAP if self._read_to and self._read_to <= now else None
        for entry in self.timeline.of_kind("incident.opened", "incident.resolved", "alert.opened", "update.drafted", since=since):
            if entry.kind != "incident.resolved":
                self._open.setdefault(entry.chain, ())
        self._read_to = now

    def _look_after(self, name: str, entries: tuple[Entry, ...]) -> None:
        """One incident that cannot be looked after holds up no other; what is wrong is said once."""
        try:
            self._do(entries)
            self._trouble.pop(name, None)
        except StopgapError as error:
            if self._trouble.get(name) != str(error):
                LOG.warning("%s: %s", name, error)
            self._trouble[name] = str(error)

    def _do(self, entries: tuple[Entry, ...]) -> None:
        incident, policy, now = fold.incident(entries), self.policy(), self.clock.now()
        if incident is None or incident.is_drill or policy is None:
            return
        publishing.look_after(self.timeline, self.clock, policy, incident, entries)
        self._page(incident, policy)
        for draft in reminding.due(incident, entries, policy, now=now):
            self.timeline.append(draft)

    def _page(self, incident: Incident, policy: Policy) -> None:
        """Have the roles paged that policy names for this severity, as long as nobody looks after the incident."""
        if incident.acknowledged_at or incident.resolved_at:
            return
        for role in policy.incidents.pages.get(incident.severity, ()):
            why = f"{incident.severity}: {incident.title}"
            key = f"{incident.id}/{incident.severity}/{incident.reopened}/{role}"
            paging.ask(self.timeline, incident, role=role, by="stopgap", why=why, key=key)


def _is_over(entries: tuple[Entry, ...]) -> bool:
    incident = fold.incident(entries)
    waiting = {entry.run for entry in entries if entry.kind == "update.drafted"} - {
        entry.run
        for entry in entries
        if entry.kind in {"update.sent", "gate.expired"} or (entry.kind == "gate.decided" and entry.data.get("answer") != "approve")
    }
    return incident is not None and incident.resolved_at is not None and not waiting
