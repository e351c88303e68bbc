"""Finds runs that Prefect believes to be carried out and that nobody carries out, and lets them begin again: one worker each."""

from __future__ import annotations

import contextlib
import logging
import secrets
from typing import TYPE_CHECKING

from stopgap.engine import journal, lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from stopgap.engine.api import Api, FlowRun
    from stopgap.incidents.model import Run
    from stopgap.timeline.leases import Lease
    from stopgap.timeline.store import PostgresTimeline

LOG = logging.getLogger("stopgap.engine")
UNDER_WAY = frozenset({"PENDING", "RUNNING", "CANCELLING"})


def beginning() -> timedelta:
    """Return how long a run may be under way in Prefect before its process has its lease."""
    terms = lease.terms()
    return terms.length + terms.longest_call


def is_lost(found: FlowRun, held: Lease | None, *, now: datetime, patience: timedelta) -> bool:
    """Say whether a run that is under way in Prefect has nobody behind it: its lease ran out, or for so long nobody has had one."""
    if found.state not in UNDER_WAY or (held and not held.is_free):
        return False
    ran_out = bool(held and held.holder)
    return ran_out or bool(found.since and abs(now - found.since) > patience)  # a clock that was set back counts as well


def resume(api: Api, timeline: PostgresTimeline, run: Run, *, still: Callable[[FlowRun], bool], at: datetime | None = None) -> bool:
    """Let a run begin again, if it is `still` so once nobody else can touch it; False when it is not, or another worker is faster."""
    with alone(timeline, run) as taken:
        if taken is None:
            return False
        found = api.flow_run(run.flow_run)
        if not still(found):
            return False
        before, after = taken
        if found.state in UNDER_WAY:
            LOG.warning("%s", journal.taken_over(timeline, run.id, before, after))
        api.reschedule(found.id, name="AwaitingRetry", at=at)
        return True


@contextlib.contextmanager
def alone(timeline: PostgresTimeline, run: Run) -> Iterator[tuple[Lease, Lease] | None]:
    """Have the lease of a run that nobody carries out while it is put right; None when somebody else has it."""
    holder = secrets.token_hex(8)
    before, after = timeline.leases.take(run.id, holder, place=lease.place(), terms=lease.terms())
    if after.holder != holder:
        yield None
        return
    try:
        yield before, after
    finally:
        timeline.leases.give_back(holder)
