"""Many requests, few transactions: what arrives while one is being written goes into the next one together. Nobody waits for company."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopgap.timeline.entry import Appended, Draft, Timeline

AT_ONCE = 200  # entries in one transaction


class Batches:
    """Appends to the timeline from one event loop; `append` returns when the entry is durable."""

    def __init__(self, timeline: Timeline, *, on_written: Callable[[], None] = lambda: None) -> None:
        self._timeline = timeline
        self._on_written = on_written
        self._waiting: list[tuple[Draft, asyncio.Future[Appended]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def append(self, draft: Draft) -> Appended:
        """Append durably, or get the entry that already has this key. Raises what the timeline raises; then nothing was written."""
        done: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._waiting.append((draft, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await done

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            await self._write_together(batch)
            self._on_written()
        self._writing = None

    async def _write_together(self, batch: list[tuple[Draft, asyncio.Future[Appended]]]) -> None:
        try:
            appended = await asyncio.to_thread(self._timeline.append_all, [draft for draft, _ in batch])
        except Exception as error:  # noqa: BLE001  whatever it is, those who wait are told
            for _, done in batch:
                _settle(done, error=error)
            return
        for (_, done), each in zip(batch, appended, strict=True):
            _settle(done, result=each)


def _settle(done: asyncio.Future[Appended], *, result: Appended | None = None, error: Exception | None = None) -> None:
    """Tell whoever waits; a sender that hung up meanwhile does not."""
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    elif result is not None:
        done.set_result(result)
