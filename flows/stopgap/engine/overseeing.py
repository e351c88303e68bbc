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
    from stopgap.policy.model import Policy, RoleName
    from stopgap.timeline.entry import Entry
    from stopgap.timeline.store import PostgresTimeline

LOG = logging.getLogger("stopgap.incidents")
_CALM = 5.0  # seconds
_OVERLAP = timedelta(minutes=15)  # how far the clocks of two machines with one timeline may be apart


@dataclass(slots=True)
class Overseer:
    """Looks at every incident that is open, each time it is called. What it has read it does not read again."""

    timeline: PostgresTimeline
    clock: Clock
    policy: Callable[[], Policy | None]
    _open: dict[str, tuple[Entry, ...]] = field(default_factory=dict, init=False)
    _over: dict[str, int] = field(default_factory=dict, init=False)  # and how long its chain was then
    _looked: dict[str, float] = field(default_factory=dict, init=False)  # when, by the clock that never jumps
    _read_to: datetime | None = field(default=None, init=False)
    _trouble: dict[str, str] = field(default_factory=dict, init=False)

    def __call__(self) -> None:
        """Look."""
        found = self._read()
        lengths = self.timeline.lengths(*found, *self._open) if found or self._open else {}
        for name in (*self._open, *(name for name in found if name not in self._open and self._over.get(name) != lengths.get(name))):
            self._follow(name, lengths.get(name, 0))
        self._over = {name: length for name, length in self._over.items() if name in found}  # others are not found again

    def _follow(self, name: str, length: int) -> None:
        """Read what is new of an incident, and look after it unless it is over; one in which nothing happens, every few seconds."""
        entries, now = self._open.pop(name, ()), self.clock.monotonic()
        is_same = bool(entries) and length == len(entries)
        if is_same and now - self._looked.get(name, -_CALM) < _CALM:
            self._open[name] = entries
            return
        self._looked[name] = now
        if not is_same:
            entries = (*entries, *self.timeline.of_chain(name, after=len(entries)))
        if _is_over(entries):
            self._over[name] = len(entries)
            self._looked.pop(name, None)
            return
        self._open[name] = entries
        self._look_after(name, entries)

    def _read(self) -> set[str]:
        """Return the chains in which something began lately; all of them at the beginning."""
        now = self.clock.now()
        # After a clock was set back, new entries are dated before what was read last.
        since = self._read_to - _OVERLAP if self._read_to and self._read_to <= now else None
        self._read_to = now
        return {entry.chain for entry in self.timeline.of_kind("incident.opened", "alert.opened", "update.drafted", since=since)}

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
        asked = [self._page(incident, role, key) for role, key in _pages(incident, policy, entries)]
        if asked:
            entries = self.timeline.of_chain(incident.id)  # the first ring follows at once
        for draft in reminding.due(incident, entries, policy, now=now):
            self.timeline.append(draft)

    def _page(self, incident: Incident, role: RoleName, key: str) -> Entry:
        why = f"{incident.severity}: {incident.title}"
        return paging.ask(self.timeline, incident, role=role, by="stopgap", why=why, key=key)


def _pages(incident: Incident, policy: Policy, entries: tuple[Entry, ...]) -> list[tuple[RoleName, str]]:
    """Return the roles that policy has paged at this severity and that are not yet, as long as nobody looks after the incident."""
    if incident.acknowledged_at or incident.resolved_at:
        return []
    roles = {
        role: f"{incident.id}/{incident.severity}/{incident.reopened}/{role}" for role in policy.incidents.pages.get(incident.severity, ())
    }
    written = {entry.key for entry in entries if entry.kind == "page.asked"}
    return [(role, key) for role, key in roles.items() if f"page.asked/{key}" not in written]


def _is_over(entries: tuple[Entry, ...]) -> bool:
    incident = fold.incident(entries)
    waiting = {entry.run for entry in entries if entry.kind == "update.drafted"} - {
        entry.run
        for entry in entries
        if entry.kind in {"update.sent", "gate.expired"} or (entry.kind == "gate.decided" and entry.data.get("answer") != "approve")
    }
    return incident is not None and incident.resolved_at is not None and not waiting
