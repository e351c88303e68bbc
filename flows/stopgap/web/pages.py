"""The incident pages: read-only, behind a password, complete without JavaScript, and with it live."""

from __future__ import annotations

import asyncio
import importlib.resources
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from stopgap.timeline.store import TimelineUnreachableError
from stopgap.web import readers
from stopgap.web.hub import ALL, Hub, Topic
from stopgap.web.library import LISTED, Library, is_incident
from stopgap.web.rendering import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from stopgap.policy.incidents import Reader
    from stopgap.policy.model import Policy
    from stopgap.report.standing import Standing
    from stopgap.web.readers import Door

OVER = 100  # incidents that are over, shown in the list
NEWEST = 200  # entries of the timeline that a page shows
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


@dataclass(slots=True)
class Pages:
    """The pages of one process. `policy` gives what holds now."""

    library: Library
    door: Door
    policy: Callable[[], Policy]
    hub: Hub = field(init=False)

    def __post_init__(self) -> None:
        """Make the hub, which needs the pages to render."""
        self.hub = Hub(self.library.timeline, self._board, listed=LISTED)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", _home),
            Route("/incidents", self.incidents),
            Route("/incidents/events", self.events),
            Route("/incidents/{name}", self.incident),
            Route("/incidents/{name}/events", self.events),
            Route("/incidents/{name}/files/{sha256}", self.file),
            Route("/assets/{name}", _asset),
        ]

    async def incidents(self, request: Request) -> Response:
        """GET /incidents."""
        topic = Topic(ALL, restricted=self._sees(await self._reader(request)))
        return await self._page("incidents.html", topic, events="/incidents/events")

    async def incident(self, request: Request) -> Response:
        """GET /incidents/<name>, with ?all=1 for its whole timeline, which is not live."""
        name = request.path_params["name"]
        topic = Topic(name, restricted=self._sees(await self._reader(request)))
        everything = "all" in request.query_params
        return await self._page("incident.html", topic, events="" if everything else f"/incidents/{name}/events", everything=everything)

    async def events(self, request: Request) -> Response:
        """GET /incidents/events and /incidents/<name>/events: server-sent events."""
        topic = Topic(request.path_params.get("name", ALL), restricted=self._sees(await self._reader(request)))
        if topic.name != ALL and not await asyncio.to_thread(self._board, topic):
            raise _nothing(topic.name)
        if self.hub.is_full:
            raise HTTPException(503, "Too many browsers follow already; the page itself can be loaded anew.", headers={"Retry-After": "30"})
        headers = {**HEADERS, "X-Accel-Buffering": "no"}
        return StreamingResponse(self.hub.listen(topic), media_type="text/event-stream", headers=headers)

    async def file(self, request: Request) -> Response:
        """GET /incidents/<name>/files/<sha256>: to be saved, never to be shown by the browser."""
        name, sha256 = request.path_params["name"], request.path_params["sha256"]
        topic = Topic(name, restricted=self._sees(await self._reader(request)))
        return await asyncio.to_thread(self._file, topic, sha256)

    def _file(self, topic: Topic, sha256: str) -> Response:
        found = self._standing(topic)
        kept = next((each for each in found.attachments if each.sha256 == sha256), None) if found else None
        content = self.library.timeline.files.read(sha256) if kept else None
        if kept is None or content is None:
            raise HTTPException(404, "There is no such file.")
        headers = {**HEADERS, "Content-Disposition": f"attachment; filename*=UTF-8''{quote(kept.name)}"}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def _page(self, template: str, topic: Topic, *, events: str, everything: bool = False) -> Response:
        try:
            values = await asyncio.to_thread(self._values, topic)
        except TimelineUnreachableError as error:
            raise HTTPException(503, "The timeline cannot be reached now.", headers={"Retry-After": "5"}) from error
        if values is None:
            raise _nothing(topic.name)
        values = {**values, "everything": everything}
        return HTMLResponse(
            render("page.html", board=template, events=events, heading=topic.name or "Incidents", **values), headers=HEADERS
        )

    def _board(self, topic: Topic) -> str:
        """Return what is live of a page."""
        values = self._values(topic)
        return render("incident.html" if topic.name else "incidents.html", **values) if values else ""

    def _values(self, topic: Topic) -> dict[str, object] | None:
        if topic.name != ALL:
            found = self._standing(topic)
            return {"it": found, "everything": False, "newest": NEWEST} if found else None
        shown = [each for each in self.library.incidents() if topic.restricted or not each.restricted]
        return {
            "now": self.library.clock.now(),
            "open": [each for each in shown if each.resolved_at is None],
            "over": [each for each in shown if each.resolved_at][:OVER],
            "listed": LISTED,
        }

    def _standing(self, topic: Topic) -> Standing | None:
        found = self.library.standing(topic.name) if is_incident(topic.name) else None
        return found if found and (topic.restricted or not found.incident.restricted) else None

    def _sees(self, reader: Reader) -> bool:
        return readers.sees_restricted(reader, self.policy())

    async def _reader(self, request: Request) -> Reader:
        return await asyncio.to_thread(self.door.reader, self.policy(), request)


def _nothing(name: str) -> HTTPException:
    """A restricted incident and one that does not exist read alike."""
    return HTTPException(404, f"There is no incident {name[:40]}.")


async def _home(_request: Request) -> Response:
    return RedirectResponse("/incidents")


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _ASSETS:
        raise HTTPException(404, "There is no such file.")
    content = importlib.resources.files("stopgap.web").joinpath("assets", name).read_bytes()
    return Response(content, media_type=_ASSETS[name], headers={**HEADERS, "Cache-Control": "no-cache"})
