"""The link in a page: looking at it shows a button, pressing the button acknowledges. A chat that looks at links acknowledges nothing."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse
from starlette.routing import Route

from stopgap.incidents import changes, fold, paging
from stopgap.notices import compose
from stopgap.timeline.store import TimelineUnreachableError
from stopgap.web.library import is_incident
from stopgap.web.pages import HEADERS
from stopgap.web.rendering import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from stopgap.policy.model import Policy
    from stopgap.timeline.store import PostgresTimeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledging:
    """The links. Who has one was sent it: its token is good for one page and one person, and for nothing once somebody has acknowledged."""

    timeline: PostgresTimeline
    policy: Callable[[], Policy]

    def route(self) -> Route:
        """Return the route."""
        return Route("/pages/{page}/{person}/{token}", self.answer, methods=["GET", "POST"])

    async def answer(self, request: Request) -> Response:
        """GET shows where the page stands; POST acknowledges it."""
        page, person, token = (request.path_params[name] for name in ("page", "person", "token"))
        try:
            return await asyncio.to_thread(self._answer, page, person, token, presses=request.method == "POST")
        except TimelineUnreachableError as error:
            raise HTTPException(
                503, "The timeline cannot be reached now; nothing was acknowledged.", headers={"Retry-After": "5"}
            ) from error

    def _answer(self, name: str, person: str, token: str, *, presses: bool) -> Response:
        right = self.timeline.token(compose.purpose(name, person))
        if not hmac.compare_digest(right.encode(), token.encode()):
            raise HTTPException(404, "This link acknowledges nothing. Look for a newer one, or type:  stopgap incident ack")
        page = self._find(name)
        incident = fold.find_incident(self.timeline, name.rpartition(".")[0])
        if presses and page.acknowledged_at is None:
            changes.acknowledge(self.timeline, incident, person=person, policy=self.policy(), channel="link")
            page = self._find(name)
        shown = render("acknowledge.html", page=page, incident=incident, person=person, is_done=presses)
        return HTMLResponse(shown, headers=HEADERS)

    def _find(self, name: str) -> paging.Page:
        chain = name.rpartition(".")[0]
        entries = self.timeline.of_chain(chain) if is_incident(chain) else ()
        found = next((page for page in paging.fold(entries) if page.id == name), None)
        if found is None:
            raise HTTPException(404, "There is no such page.")
        return found
