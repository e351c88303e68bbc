"""Looks after incidents and runs the outbox beside a worker, in a thread of its own: a channel that hangs must not keep a decided run asleep,
and people are reminded and paged while Prefect is away.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stopgap.engine import watching
from stopgap.engine.overseeing import Overseer
from stopgap.notices.outbox import Outbox
from stopgap.policy import load as policies
from stopgap.problems import StopgapError
from stopgap.runbook import load as runbooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from stopgap.clock import Clock
    from stopgap.policy.model import Policy
    from stopgap.timeline.store import PostgresTimeline

LOG = logging.getLogger("stopgap.notices")
EVERY = 2.0  # seconds


@dataclass(slots=True)
class Policies:
    """The policy of each runbook, read again when a file below the folder changes; of a broken one, as it was before."""

    folder: Path
    _seen: watching.Fingerprint | None = field(default=None, init=False)
    _found: dict[str, Policy] = field(default_factory=dict, init=False)

    def __call__(self, runbook: str) -> Policy | None:
        """Return the policy of a runbook, or the one of the folder."""
        return self._found.get(runbook) or self._found.get("")

    def look(self) -> None:
        """See whether anything has changed."""
        now = watching.fingerprint(self.folder)
        if now == self._seen:
            return
        self._seen = now
        self._read("", self.folder)
        for name, runbook in runbooks.load_sound(self.folder)[0].items():
            self._read(name, runbook.path.parent)

    def _read(self, name: str, place: Path) -> None:
        path = policies.find(place)
        try:
            if path:
                self._found[name] = policies.load(path)
        except StopgapError as error:
            LOG.warning("who is told is as it was before, because %s is broken: %s", path, str(error).splitlines()[0])


@contextlib.contextmanager
def running(timeline: PostgresTimeline, clock: Clock, book: Policies) -> Iterator[None]:
    """Send notices, and keep the policies up to date, as long as this lasts."""
    book.look()
    outbox = Outbox(timeline=timeline, clock=clock, policy=book, link=link)
    overseer = Overseer(timeline, clock, policy=lambda: book(""))
    over = threading.Event()
    thread = threading.Thread(target=_work, args=((book.look, overseer, outbox), over), name="notices", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(EVERY)
        outbox.wait(EVERY)


def _work(parts: Sequence[Callable[[], None]], over: threading.Event) -> None:
    """Do one after the other; what fails holds up none of the others, and is said once."""
    trouble: dict[int, str] = {}
    while not over.wait(EVERY):
        for number, part in enumerate(parts):
            try:
                part()
                trouble.pop(number, None)
            except Exception as error:
                if trouble.get(number) != str(error):
                    LOG.exception("people could not be told everything; trying again every %g s", EVERY)
                trouble[number] = str(error)


def link(flow_run: str) -> str:
    """Return where a flow run is seen in Prefect's UI; empty when that is not known."""
    ui = os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL", "").removesuffix("/api")
    return f"{ui}/runs/flow-run/{flow_run}" if ui else ""
