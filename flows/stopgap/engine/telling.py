"""Publishes the timeline of a run in Prefect while the run goes on: showing it takes longer than a step's own entries."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import httpx
from prefect.artifacts import acreate_table_artifact

from stopgap.timeline.store import RunUnreachableError

if TYPE_CHECKING:
    from stopgap.engine.work import Work

LOG = logging.getLogger("stopgap.engine")
PAUSE = 0.25  # seconds between two publications while the run goes on: a quick step would otherwise pay for one of its own


class Telling:
    """One publication at a time; what happens during it is told by the next. Belongs to the event loop's thread."""

    def __init__(self, work: Work, *, key: str) -> None:
        self._work = work
        self._key = key
        self._is_due = False
        self._is_pressing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Let people see the timeline as it is now or later; returns at once."""
        self._is_due = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._all())

    async def end(self) -> None:
        """Return when all is published; before the run leaves this process."""
        if self._task:
            self._is_pressing.set()
            await self._task
            self._is_pressing.clear()

    async def _all(self) -> None:
        while self._is_due:
            self._is_due = False
            await self._publish()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_pressing.wait(), PAUSE)

    async def _publish(self) -> None:
        """Publish a table. Prefect being away does not hold the run up; that the timeline is away, the run finds by itself."""
        try:
            rows = [
                {"at": f"{entry.at:%H:%M:%S}", "step": entry.step, "who": entry.actor, "what": entry.text}
                for entry in await asyncio.to_thread(self._work.entries)
            ]
            await acreate_table_artifact(rows, key=self._key, description=f"Timeline of {self._work.id}")
        except (httpx.HTTPError, RunUnreachableError) as error:
            LOG.warning("The timeline of %s could not be shown in Prefect: %s", self._work.id, error)
