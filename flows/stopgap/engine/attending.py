"""What a worker does about the processes that carry its runs out: ends those that are cancelled and do not end, and those that grow too big."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient

    from stopgap.engine.pool import Child

log = logging.getLogger("stopgap.worker")
_MEGABYTE = 1_000_000


class Attending:
    """Looks after busy children each time it is told to.

    `grace` is how many seconds the step under way may go on after its run was cancelled in Prefect; `memory` how many megabytes one process may
    have resident, 0 for any number.
    """

    def __init__(self, *, grace: float, memory: int) -> None:
        self._grace = grace
        self._memory = memory
        self._cancelled: dict[UUID, float] = {}

    async def look(self, client: PrefectClient, busy: Collection[Child]) -> None:
        """End what must be ended. What it did is on the timeline, and what is in doubt is found there."""
        for child in busy:
            megabytes = resident(child.process.pid) / _MEGABYTE
            if self._memory and megabytes > self._memory:
                log.error("a run's process has %d MB, and may have %d; it is killed, and its run goes on anew", megabytes, self._memory)
                child.process.kill()
        now = asyncio.get_running_loop().time()
        runs = [child.order.flow_run for child in busy if child.order]
        self._cancelled = {run: self._cancelled.get(run, now) for run in await _cancelling(client, runs)}
        for child in busy:
            if child.order and now - self._cancelled.get(child.order.flow_run, now) >= self._grace > 0:
                log.warning("%s was cancelled and has not ended within %g s; its process is killed", child.order.flow_run, self._grace)
                child.process.kill()


def resident(pid: int | None) -> int:
    """Return how many bytes of memory a process has resident; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


async def _cancelling(client: PrefectClient, runs: list[UUID]) -> list[UUID]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    if not runs:
        return []
    is_cancelling = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLING]))
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=runs), state=is_cancelling)
    return [each.id for each in await client.read_flow_runs(flow_run_filter=wanted)]
