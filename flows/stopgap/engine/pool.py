"""Idle children, forked and loaded beforehand: a floor of them waits at all times, more come on demand up to a cap."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import multiprocessing.forkserver
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stopgap.engine import child

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

log = logging.getLogger("stopgap.worker")
_LEAST_LIFE = 1.0  # seconds; after a child that died younger and idle, the next is forked only that much later


@dataclass(slots=True, eq=False)
class Child:
    """One process of the pool. `order` is what it executes; None while it is idle."""

    process: ForkServerProcess
    inbox: Connection
    born: float
    order: child.Order | None = None
    is_ready: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def code(self) -> int:
        """The exit code; negative for a signal."""
        return self.process.exitcode or 0


class Pool:
    """Children of one worker. All methods belong to the event loop's thread; create it in the main thread."""

    def __init__(self, *, floor: int, cap: int, on_change: Callable[[], None], on_end: Callable[[Child], None]) -> None:
        self._floor = floor
        self._cap = cap
        self._on_change = on_change  # a child became ready, or one has ended
        self._on_end = on_end  # of a child that executed a run
        self._children: set[Child] = set()
        self._starting = 0
        self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["stopgap.engine.preload"])
        multiprocessing.forkserver.ensure_running()  # from the main thread: it dies with the thread that started it

    @property
    def room(self) -> int:
        """How many more runs may be taken now."""
        return self._cap - len(self.busy)

    @property
    def busy(self) -> tuple[Child, ...]:
        """The children that execute a run."""
        return tuple(each for each in self._children if each.order)

    @property
    def has_ready(self) -> bool:
        """An idle child waits for a run."""
        return any(each.is_ready and not each.order for each in self._children)

    def want(self, count: int) -> None:
        """Fork until so many runs could start at once, within the cap; never fewer than the floor."""
        idle = sum(not each.order for each in self._children) + self._starting
        for _ in range(min(max(count, self._floor), self.room) - idle):
            self._starting += 1
            task = asyncio.create_task(self._fork())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def give(self, order: child.Order) -> bool:
        """Let an idle child execute a run; False when none is ready."""
        for each in self._children:
            if each.is_ready and not each.order:
                each.order = order
                try:
                    each.inbox.send(order)
                except OSError:  # it has just died
                    each.order = None
                    continue
                return True
        return False

    def dismiss_idle(self) -> None:
        """Let go of every child that was loaded before now; new ones take their places."""
        for each in self._children:
            if not each.order and not each.inbox.closed:
                each.is_ready = False
                asyncio.get_running_loop().remove_reader(each.inbox.fileno())
                each.inbox.close()

    async def close(self, patience: float) -> None:
        """End all children: the idle at once; the busy are told to leave after the step they are in, and killed after `patience` seconds."""
        self._is_closed = True
        self.dismiss_idle()
        await asyncio.gather(*self._tasks)
        for each in self.busy:
            with contextlib.suppress(OSError):  # it has just died
                os.write(each.inbox.fileno(), b"\n")  # leave between two steps
        if self.busy and patience > 0:
            await asyncio.wait([asyncio.create_task(each.ended.wait()) for each in self.busy], timeout=patience)
        for each in tuple(self._children):
            each.process.kill()
            await each.ended.wait()

    async def _fork(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=child.serve_one, args=(theirs,), name="stopgap run")
        try:
            await asyncio.to_thread(process.start)  # the first waits until the fork server has loaded everything
        except (OSError, EOFError) as error:
            log.error("no process can be started (%s: %s); trying again", type(error).__name__, error)  # noqa: TRY400  one line says it
            ours.close()
            loop.call_later(_LEAST_LIFE, self.want, 0)
            return
        finally:
            self._starting -= 1
            theirs.close()
        new = Child(process=process, inbox=ours, born=loop.time())
        self._children.add(new)
        loop.add_reader(ours.fileno(), self._became_ready, new)
        loop.add_reader(process.sentinel, self._ended, new)
        if self._is_closed:
            self.dismiss_idle()

    def _became_ready(self, each: Child) -> None:
        asyncio.get_running_loop().remove_reader(each.inbox.fileno())
        try:
            each.is_ready = each.inbox.recv() == child.READY
        except (EOFError, OSError):
            return  # it died; its sentinel tells
        self._on_change()

    def _ended(self, each: Child) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(each.process.sentinel)
        if not each.inbox.closed:
            loop.remove_reader(each.inbox.fileno())
            each.inbox.close()
        each.process.join()
        self._children.discard(each)
        if each.order:
            self._on_end(each)
        each.ended.set()
        if not self._is_closed:
            wait = _LEAST_LIFE if each.code and loop.time() - each.born < _LEAST_LIFE else 0
            loop.call_later(wait, self.want, 0)
        self._on_change()
