"""Sends what is to be told, at least once, by whichever worker's turn it is. Nothing here holds anything up: no gate waits for a notice."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.notices import compose, services
from stopgap.policy import addresses
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from stopgap.clock import Clock
    from stopgap.notices.audience import Target
    from stopgap.notices.compose import Notice
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Entry
    from stopgap.timeline.store import PostgresTimeline

LOG = logging.getLogger("stopgap.notices")
FRESH = timedelta(hours=1)  # older news is told to nobody: a worker that was down for a day must not wake people for it
WITHIN = timedelta(seconds=20)  # for one attempt; less than the lease of a delivery
ATTEMPTS = 8
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=10)
AT_ONCE = 16
_OVERLAP = timedelta(minutes=15)  # how far the clocks of two machines with one timeline may be apart


@dataclass(slots=True)
class Outbox:
    """What this worker has read and not yet sent. `policy` gives the policy of a runbook by its name, `link` where a flow run is seen."""

    timeline: PostgresTimeline
    clock: Clock
    policy: Callable[[str], Policy | None]
    link: Callable[[str], str] = str
    within: timedelta = WITHIN
    first_pause: timedelta = FIRST_PAUSE
    _read_to: datetime | None = field(default=None, init=False)
    _seen: set[str] = field(default_factory=set, init=False)
    _waiting: dict[str, Entry] = field(default_factory=dict, init=False)
    _flying: dict[tuple[str, str], threading.Thread] = field(default_factory=dict, init=False)

    def __call__(self) -> None:
        """Look for what is to be told, and begin to send what is due. Returns at once; `wait` waits for what is on its way."""
        self._read()
        self._flying = {name: thread for name, thread in self._flying.items() if thread.is_alive()}
        for place, entry in tuple(self._waiting.items()):
            found = self._compose(entry)
            left = [target for target in found.targets if not self._is_settled(found, target)] if found else []
            if found is None or not left:
                del self._waiting[place]
                continue
            for target in left:
                self._begin(found, target)

    def wait(self, seconds: float) -> None:
        """Wait for what is on its way."""
        for thread in tuple(self._flying.values()):
            thread.join(seconds)

    def _read(self) -> None:
        now = self.clock.now()
        since = max(now - FRESH, self._read_to - _OVERLAP) if self._read_to else now - FRESH
        for entry in self.timeline.of_kind(*compose.EVENTS, since=since):
            place = f"{entry.chain}#{entry.number}"
            if place not in self._seen:
                self._seen.add(place)
                self._waiting[place] = entry
        self._read_to = now

    def _compose(self, entry: Entry) -> Notice | None:
        now = self.clock.now()
        asked = next((each for each in self.timeline.of_run(entry.run) if each.kind == "run.requested"), None) if entry.run else None
        policy = self.policy(asked.data["runbook"] if asked else "")
        if policy is None or now - entry.at > FRESH:
            return None
        flow = next((each for each in reversed(self.timeline.of_run(entry.run)) if each.kind == "run.scheduled"), None) if asked else None
        return compose.notice(self.timeline, policy, entry, now=now, link=self.link(flow.data["flow_run"]) if flow else "")

    def _is_settled(self, notice: Notice, target: Target) -> bool:
        return any(self.timeline.find(_key(notice, target, how)) for how in ("sent", "given-up"))

    def _begin(self, notice: Notice, target: Target) -> None:
        name = (notice.id, target.name)
        if name in self._flying or len(self._flying) >= AT_ONCE:
            return
        attempt = self.timeline.deliveries.claim(*name)
        if attempt is None:
            return
        if self._is_settled(notice, target):  # by another worker, since we looked
            self.timeline.deliveries.end(*name)
            return
        self._flying[name] = threading.Thread(target=self._send, args=(notice, target, attempt), daemon=True)
        self._flying[name].start()

    def _send(self, notice: Notice, target: Target, attempt: int) -> None:
        try:
            self._settle(notice, target, attempt, self._deliver(notice, target))
        except Exception:
            # The lease of the delivery ends, and it is tried again.
            LOG.exception("a notice to %s could not be written down; it is sent again", target.name)

    def _deliver(self, notice: Notice, target: Target) -> str:
        try:
            address = addresses.resolve(target.written, folder=target.folder)
        except addresses.AddressError as error:
            return str(error)
        body = notice.body_for(target, self.timeline)
        message = services.Message(title=notice.title, body=body, within=self.within, thread=notice.thread, closes=notice.closes)
        return services.deliver(address, message)

    def _settle(self, notice: Notice, target: Target, attempt: int, why: str) -> None:
        name = (notice.id, target.name)
        if not why:
            self._note(notice, target, "sent", f"Told {target.name}: {notice.event}", attempt)
            self.timeline.deliveries.end(*name)
        elif attempt >= ATTEMPTS:
            self._note(
                notice, target, "given-up", f"Could not tell {target.name} ({notice.event}), given up after {attempt} times: {why}", attempt
            )
            self.timeline.deliveries.end(*name)
        else:
            self._note(notice, target, "failed", f"Could not tell {target.name} ({notice.event}) yet: {why}", attempt)
            self.timeline.deliveries.put_off(*name, min(self.first_pause * 2 ** (attempt - 1), LONGEST_PAUSE))

    def _note(self, notice: Notice, target: Target, how: str, text: str, attempt: int) -> None:
        """Write it down; of a delivery that fails again and again, the first failure and the last."""
        about = notice.about
        draft = Draft(
            chain=about.chain,
            incident=about.incident,
            run=about.run,
            step=about.step,
            kind="notice.sent" if how == "sent" else "notice.failed",
            actor="stopgap",
            key=_key(notice, target, how),
            text=text,
            data={"about": about.number, "target": target.name, "event": str(notice.event), "attempt": attempt},
        )
        self.timeline.append(draft)


def _key(notice: Notice, target: Target, how: str) -> str:
    return f"notice/{notice.id}/{target.name}/{how}"
