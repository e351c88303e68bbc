"""Jira by the library `jira`, which knows the differences of Jira Cloud and Jira's own servers. What it sends goes through our transport; it retries nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter

from stopgap import clock
from stopgap.actions.around import site as sites
from stopgap.actions.around import web
from stopgap.actions.around.tracker import Ticket
from stopgap.actions.contract import InDoubtError, PermanentError
from stopgap.problems import LeaveRunError, StopgapError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jira import JIRA

    from stopgap.actions.contract import Context
    from stopgap.policy.around import Site

FIELDS = "summary,status,labels"
SETTLES = 15.0  # Atlassian says that a search may miss what was written a moment ago, and does not say how long


class Carrier(BaseAdapter):
    """Sends what the library `requests` would send through the guarded transport."""

    def __init__(self, context: Context, site: Site) -> None:
        super().__init__()
        self._context, self._site = context, site

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        """Send it once."""
        wanted = {name: str(value) for name, value in request.headers.items() if name.lower() not in {"content-length", "connection"}}
        found = web.ask(
            self._context,
            self._site,
            request.method or "GET",
            request.url or "",
            headers=wanted,
            text=cast("str | bytes | None", request.body),
        )
        answer = Response()
        answer.status_code, answer.url, answer.request = found.status, request.url or "", request
        answer.headers.update({"content-type": found.headers.get("content-type", "")})
        answer._content, answer.encoding = found.text.encode(), "utf-8"  # noqa: SLF001  requests has no other way to make an answer
        return answer

    def close(self) -> None:
        """It keeps no connection."""


class JiraTracker:
    """One Jira, for one step. The incident's label and the attempt's mark are labels of the ticket."""

    def __init__(self, context: Context, site: Site) -> None:
        self._site = site
        self._jira = _connect(context, site)

    @property
    def settles(self) -> float:
        """Seconds that a new ticket may take to be found."""
        written = self._site.settings.get("settle")
        return clock.parse_duration(written).total_seconds() if written else SETTLES

    @web.understood()
    def find(self, *labels: str, is_open: bool = False) -> tuple[Ticket, ...]:
        """Search, the oldest first."""
        parts = [f"project = {_quoted(self._site.settings['project'])}", *(f"labels = {_quoted(label)}" for label in labels)]
        parts += ["statusCategory != Done"] if is_open else []
        found = self._call(
            lambda jira: jira.search_issues(f"{' AND '.join(parts)} ORDER BY created ASC", maxResults=10, fields=FIELDS, json_result=True)
        )
        return tuple(self._ticket(each) for each in found["issues"])

    @web.understood()
    def read(self, key: str) -> Ticket:
        """Return the ticket with this key."""
        return self._ticket(self._call(lambda jira: jira.issue(key, fields=FIELDS).raw))

    @web.understood(changes=True)
    def open(self, *, title: str, text: str, labels: tuple[str, str]) -> Ticket:
        """Create an issue."""
        fields = {
            "project": {"key": self._site.settings["project"]},
            "issuetype": {"name": self._site.settings.get("type", "Task")},
            "summary": title,
            "description": text,
            "labels": list(labels),
        }
        made = self._call(lambda jira: jira.create_issue(fields=fields, prefetch=False).raw, changes=True)
        return self._ticket({**made, "fields": {"summary": title, "labels": list(labels)}})

    @web.understood()
    def has_said(self, ticket: Ticket, mark: str) -> bool:
        """Look through the newest comments."""
        newest = self._call(lambda jira: [each.body for each in jira.comments(ticket.key, max_results=100, order_by="-created")])
        return any(mark in each for each in newest)

    def comment(self, ticket: Ticket, text: str) -> None:
        """Add a comment."""
        self._call(lambda jira: jira.add_comment(ticket.key, text), changes=True)

    @web.understood()
    def close(self, ticket: Ticket, text: str) -> None:
        """Move it to the status that closes it, and say why."""
        ways = self._call(lambda jira: jira.transitions(ticket.key))
        wanted = self._site.settings.get("done", "").lower()
        fits = [each for each in ways if _closes(each, wanted)]
        if not fits:
            offered = ", ".join(f"{each['name']} (to {each['to']['name']})" for each in ways) or "none"
            raise PermanentError(
                f"{self._site.title} offers no step for {ticket.key} that closes it; it offers: {offered}.\n"
                f"Name the status in policy.yaml:  trackers: {{{self._site.name}: {{done: ...}}}}"
            )
        self._call(lambda jira: jira.transition_issue(ticket.key, fits[0]["id"], comment=text), changes=True)

    def _call(self, work: Callable[[JIRA], Any], *, changes: bool = False) -> Any:
        try:
            return work(self._jira)
        except (StopgapError, LeaveRunError):
            raise
        except Exception as error:  # whatever the library cannot read
            said = f"{self._site.title} answered in a way that its library does not understand ({type(error).__name__}: {web.shown(self._site, str(error))})."
            if changes:
                raise InDoubtError(f"{said} It may have happened all the same.") from error
            raise PermanentError(said) from error

    def _ticket(self, raw: dict[str, Any]) -> Ticket:
        fields = raw["fields"]
        status = fields.get("status", {})
        return Ticket(
            key=raw["key"],
            id=str(raw["id"]),
            title=fields.get("summary", ""),
            status=status.get("name", "new"),
            url=f"{self._site.url}/browse/{raw['key']}",
            is_closed=status.get("statusCategory", {}).get("key") == "done",
            labels=tuple(fields.get("labels", ())),
        )


@web.understood()
def _connect(context: Context, site: Site) -> JIRA:
    from jira import JIRA

    found = sites.secret(site)
    access: dict[str, Any] = {"basic_auth": (site.user, found)} if site.user else {"token_auth": found}
    made = JIRA(server=site.url, get_server_info=False, max_retries=0, logging=False, **access)
    session = made._session  # noqa: SLF001  the library has no other way to say how it sends
    session.trust_env = False  # neither a proxy nor a .netrc of the user
    for scheme in ("http://", "https://"):
        session.mount(scheme, Carrier(context, site))
    # The library's own `server_info` asks nine times, a second apart, when the answer makes no sense.
    made.deploymentType = str(made._get_json("serverInfo").get("deploymentType", ""))  # noqa: SLF001
    return made


def _closes(way: dict[str, Any], wanted: str) -> bool:
    to = way["to"]
    if wanted:
        return wanted in {way["name"].lower(), to["name"].lower()}
    return bool(to.get("statusCategory", {}).get("key") == "done")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
