"""The receiver: accepts a delivery durably, answers, and has it acted on; in that order, and fast."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from stopgap.alerts import receive
from stopgap.alerts.model import Delivery, ForbiddenError
from stopgap.alerts.sources import SIGNED
from stopgap.policy.alerting import NoSecretError
from stopgap.timeline.kinds import EntryError
from stopgap.timeline.store import TimelineUnreachableError
from stopgap.web import bodies
from stopgap.web.batches import Batches

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stopgap.engine.intake import Intake
    from stopgap.engine.rules import Watched
    from stopgap.policy.alerting import Source
    from stopgap.timeline.store import PostgresTimeline
    from stopgap.web.metrics import Metrics

LOG = logging.getLogger("stopgap.web")
_SWEEP_EVERY = 5.0  # seconds
_AGAIN = 1.0  # seconds, after acting on alerts failed
_BREATH = 0.05  # seconds from one turn's begin to the next: the first alert is acted on at once, those of a flood together


class Receiver:
    """One receiver with a chain of its own. `start` and `end` belong to the event loop that serves it."""

    def __init__(self, *, name: str, timeline: PostgresTimeline, watched: Watched, intake: Intake, metrics: Metrics) -> None:
        self._name = name
        self._watched = watched
        self._intake = intake
        self._metrics = metrics
        self._new = asyncio.Event()
        self._batches = Batches(timeline, on_written=self._new.set)
        self._acting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to act on what is accepted; first on what was left by whoever had this name before."""
        self._new.set()
        self._acting = asyncio.create_task(self._act())

    async def end(self) -> None:
        """Stop acting. What was accepted stays accepted, and is acted on by the next receiver or by a worker."""
        if self._acting:
            self._acting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._acting

    async def deliver(self, request: Request) -> Response:
        """POST /alerts/<source>."""
        began = time.perf_counter()
        source = await self._source(request.path_params["source"])
        try:
            answer = await self._accept(source, request)
        except HTTPException as refused:
            self._metrics.deliveries.labels(source.name, str(refused.status_code)).inc()
            raise
        self._metrics.deliveries.labels(source.name, str(answer.status_code)).inc()
        self._metrics.answering.observe(time.perf_counter() - began)
        return answer

    async def _source(self, name: str) -> Source:
        source = self._watched.source(name)
        if source is None:
            self._metrics.deliveries.labels("", "404").inc()
            known = ", ".join(self._watched.sources()) or "none"
            raise HTTPException(404, f"policy.yaml names no such source of alerts; it names {known}.")
        return source

    async def _accept(self, source: Source, request: Request) -> Response:
        delivery = Delivery(headers=dict(request.headers), body=await bodies.read(request))
        try:
            received = await self._read(source, delivery)
            appended = await self._batches.append(received.draft)
        except ForbiddenError as error:
            raise HTTPException(401, str(error), headers={"WWW-Authenticate": "Bearer"}) from error
        except NoSecretError as error:
            LOG.warning("A delivery of %s was refused: %s", source.name, error)
            raise HTTPException(401, f"The secret of {source.name} is not set on this side; see the log.") from error
        except EntryError as error:
            raise HTTPException(400, f"The body cannot be kept: {error}"[:300]) from error
        except TimelineUnreachableError as error:
            LOG.warning("A delivery of %s was not accepted: %s", source.name, error)
            raise HTTPException(503, "It cannot be written down now. Send it again.", headers={"Retry-After": "5"}) from error
        if received.why_not:
            raise HTTPException(400, received.why_not)
        for alert in received.reading.alerts if appended.won else ():
            self._metrics.alerts.labels(source.name, str(alert.status)).inc()
        said = {"accepted": len(received.reading.alerts)} if appended.won else {"accepted": 0, "because": "it was accepted before"}
        return JSONResponse(said, status_code=202)

    async def _read(self, source: Source, delivery: Delivery) -> receive.Received:
        """Read it here, which takes less than a millisecond; in a thread where a certificate may have to be fetched first."""
        if source.kind in SIGNED:
            return await asyncio.to_thread(receive.receive, source, delivery, receiver=self._name)
        return receive.receive(source, delivery, receiver=self._name)

    async def _act(self) -> None:
        """Act on our own chain when there is something new, and now and then on what others left behind."""
        chain, began = receive.chain_of(self._name), 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SWEEP_EVERY):
                    await self._new.wait()
            is_new = self._new.is_set()
            await asyncio.sleep(began + _BREATH - time.monotonic())
            began = time.monotonic()
            self._new.clear()
            try:
                await asyncio.to_thread(self._work, chain, is_new=is_new)
                self._metrics.trouble.set(0)
            except Exception as error:
                LOG.warning("Accepted alerts wait to be acted on: %s", error, exc_info=not isinstance(error, TimelineUnreachableError))
                self._metrics.trouble.set(1)
                await asyncio.sleep(_AGAIN)
                self._new.set()

    def _work(self, chain: str, *, is_new: bool) -> None:
        if not is_new:
            self._intake.sweep()
            return
        while self._intake.work(chain):
            pass
