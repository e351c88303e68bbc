"""`bridge.open`: where people meet. Jitsi needs nothing but a name that nobody guesses; Zoom is asked for a meeting, with plain HTTP for lack of a library that is kept."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions.around import site as sites
from stopgap.actions.around import web
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, Undoes, action

if TYPE_CHECKING:
    from stopgap.policy.around import Site

LASTS = 240  # minutes; Zoom lets people stay longer


@action
class BridgeOpen:
    """Open a bridge, where those who respond to the incident talk; each incident has one."""

    name: ClassVar[str] = "bridge.open"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=2)
    permissions: ClassVar[Mapping[str, Any]] = {"zoom": ["a server-to-server app with meeting:write and meeting:read of its user"]}
    outputs: ClassVar[Mapping[str, str]] = {"url": "the link to follow"}

    title: Annotated[str, Field(min_length=1, max_length=160, description="What the meeting is called.")] = "Incident"
    bridge: Annotated[str, Field(min_length=1, description="The name of a bridge in policy.yaml.")] = "default"

    def targets(self) -> frozenset[Target]:
        """None: each incident has a bridge of its own."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Look whether the incident has a bridge; a link to Jitsi is made when the step runs."""
        site = sites.find(context, "bridges", self.bridge)
        link = "" if site.kind == "jitsi" else _Zoom(context, site).find(sites.label(context, site))
        after = {"bridge": "open"}
        if link:
            return Change(summary="the bridge is open already", now=after, after=after)
        return Change(summary=f"open a bridge at {site.url}", now={"bridge": "none"}, after=after, checked="unchecked")

    def apply(self, context: Context, change: Change) -> Outcome:
        """Make the link; Zoom is asked for a meeting that carries our mark, unless the incident has one."""
        site = sites.find(context, "bridges", self.bridge)
        if site.kind == "jitsi":
            context.sending()
            return _outcome(_room(context, site), changed=False)
        zoom = _Zoom(context, site)
        link = zoom.find(sites.label(context, site))
        return _outcome(link, changed=False) if link else _outcome(zoom.open(f"{sites.incident(context)}: {self.title}"), changed=True)

    def probe(self, context: Context, change: Change) -> Probe:
        """Zoom: look for a meeting with our mark. A link to Jitsi is made again, and is the same."""
        site = sites.find(context, "bridges", self.bridge)
        if site.kind == "jitsi":
            return Probe.NOT_DONE
        return Probe.DONE if _Zoom(context, site).find(sites.mark(context)) else Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """People may be talking there: it ends when they leave."""
        return None


class _Zoom:
    """One account, for one step. Label and mark stand in the meeting's agenda."""

    def __init__(self, context: Context, site: Site) -> None:
        self._context, self._site = context, site
        self._token = ""

    @web.understood()
    def find(self, word: str) -> str:
        """Return the link of a meeting whose agenda has the word, empty when there is none."""
        found = self._call("GET", params={"type": "scheduled", "page_size": "300"})["meetings"]
        return next((str(each["join_url"]) for each in found if word in str(each.get("agenda", "")).split()), "")

    @web.understood(changes=True)
    def open(self, title: str) -> str:
        """Schedule a meeting that begins now; a meeting that is not scheduled cannot be found again."""
        agenda = f"stopgap {sites.label(self._context, self._site)} {sites.mark(self._context)}"
        start = self._context.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        meeting = {"topic": title, "type": 2, "start_time": start, "duration": LASTS, "agenda": agenda}
        return str(self._call("POST", json={**meeting, "settings": {"join_before_host": True, "waiting_room": False}})["join_url"])

    def _call(self, method: str, **more: Any) -> dict[str, Any]:
        self._token = self._token or self._login()
        url = f"{self._site.url}/v2/users/me/meetings"
        headers = {"authorization": f"Bearer {self._token}"}
        found: dict[str, Any] = web.body(self._site, web.ask(self._context, self._site, method, url, headers=headers, **more))
        return found

    def _login(self) -> str:
        settings = self._site.settings
        name = base64.b64encode(f"{settings['client']}:{sites.secret(self._site)}".encode()).decode()
        answer = web.ask(
            self._context,
            self._site,
            "POST",
            f"{settings.get('login', 'https://zoom.us').rstrip('/')}/oauth/token",
            params={"grant_type": "account_credentials", "account_id": settings["account"]},
            headers={"authorization": f"Basic {name}"},
            reading="zoom",
        )
        return str(web.body(self._site, answer)["access_token"])


def _room(context: Context, site: Site) -> str:
    # From what only this timeline knows, so that the link is the same for everybody in the incident and nobody else guesses it.
    secret = hashlib.sha256(f"bridge/{context.origin()}/{sites.incident(context)}".encode()).hexdigest()[:20]
    return f"{site.url}/{sites.incident(context).lower()}-{secret}"


def _outcome(link: str, *, changed: bool) -> Outcome:
    return Outcome(changed=changed, summary=f"the bridge is {link}", data={"url": link})
