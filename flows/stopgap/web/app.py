"""The web application: alerts come in here, and whoever watches us asks how we are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from stopgap import home
from stopgap.clock import SystemClock
from stopgap.engine import notifying
from stopgap.timeline.store import TimelineUnreachableError
from stopgap.web import readers, rendering
from stopgap.web.acknowledging import Acknowledging
from stopgap.web.library import Library
from stopgap.web.metrics import Metrics
from stopgap.web.pages import HEADERS, Pages
from stopgap.web.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from stopgap.engine.intake import Intake
    from stopgap.engine.rules import Watched
    from stopgap.timeline.store import PostgresTimeline

LOG = logging.getLogger("stopgap.web")


def application(*, name: str, timeline: PostgresTimeline, watched: Watched, intake: Intake) -> Starlette:
    """Return the application of the receiver called `name`."""
    metrics = Metrics()
    receiver = Receiver(name=name, timeline=timeline, watched=watched, intake=intake, metrics=metrics)

    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_request: Request) -> Response:
        why_not = await asyncio.to_thread(_why_not_ready, timeline, watched)
        return JSONResponse({"ready": not why_not, "because": why_not}, status_code=503 if why_not else 200)

    async def measured(_request: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    folder = home.data_folder()
    home.make(folder)
    library = Library(timeline=timeline, clock=SystemClock(), policy=lambda: watched().policy, link=notifying.link)
    pages = Pages(library=library, door=readers.door(folder), policy=lambda: watched().policy)

    @contextlib.asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        receiver.start()
        yield
        await receiver.end()

    routes = [
        Route("/alerts/{source}", receiver.deliver, methods=["POST"]),
        Route("/healthz", healthy),
        Route("/readyz", ready),
        Route("/metrics", measured),
        *pages.routes(),
        Acknowledging(timeline=timeline, policy=lambda: watched().policy).route(),
    ]
    served = Starlette(
        routes=routes, lifespan=life, exception_handlers={Exception: _our_bug, 404: _said, 405: _said, **dict.fromkeys(_REFUSALS, _said)}
    )
    served.state.end_streams = pages.hub.end
    return served


_REFUSALS = (400, 401, 408, 413, 415, 503)


async def _said(request: Request, refused: Exception) -> Response:
    """Every refusal is a sentence: in JSON, or on a page for a browser."""
    status, headers = getattr(refused, "status_code", 500), getattr(refused, "headers", None)
    if "text/html" in request.headers.get("accept", ""):
        page = rendering.render("said.html", heading=HTTPStatus(status).phrase, text=getattr(refused, "detail", ""))
        return HTMLResponse(page, status_code=status, headers={**HEADERS, **(headers or {})})
    return JSONResponse({"error": getattr(refused, "detail", "")}, status_code=status, headers=headers)


async def _our_bug(request: Request, error: Exception) -> Response:
    LOG.error("a bug in stopgap, at %s %s", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": "This is a bug in stopgap; its log knows more."}, status_code=500)


def _why_not_ready(timeline: PostgresTimeline, watched: Watched) -> str:
    watched()
    try:
        timeline.chains(limit=1)
    except TimelineUnreachableError as error:
        LOG.warning("not ready: %s", error)
        return "The timeline's database cannot be reached."
    return watched.trouble
