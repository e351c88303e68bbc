"""The warm worker: executes runs within half a second of their being due, each in a process of its own, and loses none.

Prefect's events are only a hint to look; looking is what counts, and happens every two seconds without a hint. A run is taken by setting it
Pending, which Prefect accepts from one of several workers. A run whose process died is scheduled again, a few times: the engine's journal
knows what it did. Losing Prefect's server interrupts nothing that runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from stopgap.engine import deploy, lease, settle, watching
from stopgap.engine.attending import Attending
from stopgap.engine.child import Order
from stopgap.engine.claims import Claims
from stopgap.engine.pool import Pool
from stopgap.runbook import load
from stopgap.timeline.store import TimelineUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from stopgap.engine.pool import Child

log = logging.getLogger("stopgap.worker")
WAKE = ["prefect.flow-run.Scheduled", "prefect.flow-run.Resuming", "prefect.flow-run.AwaitingRetry", "prefect.flow-run.Late"]
_LOOK_EVERY = 2.0  # seconds
_REFRESH_EVERY = timedelta(seconds=30)  # deployments made by others
_LONGEST_BACK_OFF = 10.0  # seconds
_NEVER = -math.inf
_TIMELINE, _PREFECT = "the timeline", "Prefect's server"  # what may be away


def no_sweep(_active: Collection[UUID]) -> None:
    """Sweep nothing."""


def no_lease(_holder: str) -> None:
    """Give nothing back: these runs have no leases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a worker works.

    `floor` idle processes wait at all times, at most `cap` runs execute at once. `deploys` registers the runbooks at the start and when they
    change. `sweep` is called every two seconds, in a thread, with the flow runs in our hands; `give_back`, also in a thread, with the name of a process
    that is dead and may have had a lease. `grace` and `memory` are those of `Attending`. `patience` is how long runs may go on after the worker was told to end, in seconds.
    """

    home: Path
    runbooks: Path
    floor: int = 2
    cap: int = 8
    deploys: bool = False
    prunes: bool = False
    patience: float = 10.0
    grace: float = 30.0
    memory: int = 0
    sweep: Callable[[Collection[UUID]], None] = no_sweep
    give_back: Callable[[str], None] = no_lease
    on_ready: Callable[[], None] = lambda: None


async def run(options: Options, stop: asyncio.Event) -> None:
    """Work until `stop` is set. Runs still going then are handed back to Prefect, to be gone on with by the next worker."""
    await Worker(options).run(stop)


class Worker:
    """One worker's state. Create it in the main thread."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._claims = Claims(options.home / "claims")
        self._wake = asyncio.Event()
        self._pool = Pool(floor=options.floor, cap=options.cap, on_change=self._wake.set, on_end=self._ended)
        self._attending = Attending(grace=options.grace, memory=options.memory)
        self._entrypoints: dict[UUID, str] = {}
        self._refreshed = _NEVER
        self._seen: watching.Fingerprint | None = None
        self._is_ready = False
        self._trouble = ""
        self._unswept = ""
        self._sweeping: asyncio.Task[None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        from prefect.client.orchestration import get_client

        self._pool.want(0)
        listening = asyncio.create_task(self._listen())
        stopping = asyncio.create_task(self._wake_at(stop))
        async with get_client() as client:
            wait = 0.0
            while not stop.is_set():
                wait = await self._look_safely(client, wait)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                self._wake.clear()
            for task in (listening, stopping):
                task.cancel()
            await self._end(client)
            if self._sweeping:
                await self._sweeping

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _look_safely(self, client: PrefectClient, waited: float) -> float:
        """Look once, and return how long to wait; a server that is away is waited for, with one line when it goes and one when it is back."""
        import httpx
        from prefect.exceptions import PrefectHTTPStatusError

        try:
            await self._look(client)
        except TimelineUnreachableError as error:
            self._say_once(_TIMELINE, "cannot be reached; nothing is begun until it can", error)
            return min(max(waited * 2, 0.5), _LONGEST_BACK_OFF)
        except (httpx.HTTPError, PrefectHTTPStatusError, OSError) as error:
            verb = "refuses" if isinstance(error, PrefectHTTPStatusError) else "does not answer"
            self._say_once(_PREFECT, f"{verb}; runs that are under way go on, trying again", error)
            return min(max(waited * 2, 0.5), _LONGEST_BACK_OFF if self._is_ready else 1.0)
        if self._trouble:
            log.warning("%s again", "the timeline can be reached" if self._trouble == _TIMELINE else "Prefect's server answers")
            self._trouble = ""
        return _LOOK_EVERY

    def _say_once(self, who: str, what: str, error: Exception) -> None:
        if who != self._trouble:
            log.warning("%s %s (%s)", who, what, _short(error))
        self._trouble = who

    async def _look(self, client: PrefectClient) -> None:
        await self._follow_runbooks()
        await self._refresh(client)
        await self._settle(client)
        await self._take_due(client)
        await self._attending.look(client, self._pool.busy)
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep())  # beside us: a run that is due does not wait until everything was looked at
        if not self._is_ready and self._pool.has_ready:
            self._is_ready = True
            self._options.on_ready()

    async def _sweep(self) -> None:
        """What fails here must not keep due runs waiting."""
        try:
            await asyncio.to_thread(self._options.sweep, {claim.flow_run for claim in self._claims.in_hand()})
        except Exception as error:
            if str(error) != self._unswept:
                log.exception("sweeping failed; trying again every %g s", _LOOK_EVERY)
            self._unswept = str(error)

    async def _follow_runbooks(self) -> None:
        """Throw away what was loaded from runbooks that have changed, and register them anew."""
        now = await asyncio.to_thread(watching.fingerprint, self._options.runbooks)
        if now == self._seen:
            return
        if self._seen is not None:
            self._pool.dismiss_idle()
        if self._options.deploys:
            await self._deploy()
        self._refreshed = _NEVER
        self._seen = now

    async def _deploy(self) -> None:
        from prefect.exceptions import PrefectHTTPStatusError

        runbooks, problems = await asyncio.to_thread(load.load_sound, self._options.runbooks)
        for problem in problems:
            log.warning("%s", problem)
        prunes = self._options.prunes and bool(runbooks) and not problems  # an empty folder is more likely a mistake than an order
        try:
            deployed = await asyncio.to_thread(deploy.deploy, runbooks, prune=prunes)
        except PrefectHTTPStatusError as error:
            if error.response.is_server_error:
                raise
            log.exception("Prefect refuses a runbook; those after it stay as they were registered before")
        else:
            log.info("%d runbooks are registered with Prefect", len(deployed))

    async def _refresh(self, client: PrefectClient) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._refreshed >= _REFRESH_EVERY.total_seconds():
            self._entrypoints = await settle.entrypoints(client)
            self._refreshed = now

    async def _take_due(self, client: PrefectClient) -> None:
        if not self._entrypoints:
            return
        held = {claim.flow_run for claim in self._claims.in_hand()}
        found = await client.get_scheduled_flow_runs_for_deployments(list(self._entrypoints), scheduled_before=datetime.now(UTC))
        due = [each for each in found if each.id not in held]
        self._pool.want(len(due) + self._options.floor)
        for each in due:
            if not self._pool.has_ready:
                break  # the next child that becomes ready wakes us
            await self._take(client, each)

    async def _take(self, client: PrefectClient, flow_run: FlowRun) -> None:
        deployment = flow_run.deployment_id
        if deployment is None:
            return
        claim = self._claims.take(flow_run.id)
        if not await settle.claim(client, claim):
            self._claims.drop(flow_run.id)  # another worker has it, or somebody ended it
        elif self._pool.give(Order(flow_run.id, self._entrypoints[deployment], claim.token)):
            log.info("%s is executed%s", flow_run.name, " again" if claim.crashes else "")

    async def _settle(self, client: PrefectClient) -> None:
        """Find the runs that nobody here executes any more, because they have ended or because their process or an earlier worker died."""
        for claim in self._claims.in_hand():
            if claim.flow_run not in self._executing():
                await asyncio.to_thread(self._options.give_back, claim.token)
                await settle.orphan(client, self._claims, claim)

    def _ended(self, child: Child) -> None:
        if child.order and child.code == lease.TAKEN_OVER:
            self._claims.drop(child.order.flow_run)
            log.warning("%s is carried out by another process; ours has stopped", child.order.flow_run)

    def _executing(self) -> set[UUID]:
        return {child.order.flow_run for child in self._pool.busy if child.order}

    async def _end(self, client: PrefectClient) -> None:
        await self._pool.close(self._options.patience)
        for claim in self._claims.in_hand():
            with contextlib.suppress(Exception):  # the claim stays, and the next worker settles it
                await asyncio.to_thread(self._options.give_back, claim.token)
                await settle.hand_back(client, self._claims, claim)

    async def _listen(self) -> None:
        """Look at once when Prefect says that a run is due; when it says nothing, looking every two seconds finds it."""
        from prefect.events.clients import get_events_subscriber
        from prefect.events.filters import EventFilter, EventNameFilter

        hints = EventFilter(event=EventNameFilter(name=WAKE))
        wait = 0.5
        while True:
            with contextlib.suppress(Exception):  # the socket is a hint; whether the server is away is seen by looking
                async with get_events_subscriber(filter=hints, reconnection_attempts=0) as events:
                    self._wake.set()
                    wait = 0.5
                    async for event in events:
                        self._heard({related.id for related in event.related})
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_BACK_OFF)

    def _heard(self, related: set[str]) -> None:
        if not related & {f"prefect.deployment.{each}" for each in self._entrypoints}:
            self._refreshed = _NEVER  # a deployment that we do not know yet
        self._wake.set()


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
