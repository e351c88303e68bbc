"""What stands around the fix: cases of the kill matrix on the office, a server of ours in the shape of other people's services."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import fixtures_office
import office_answers
from matrix.case import NAME, THING, Case, nothing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fixtures_office import Office
    from matrix.systems import Systems

COUNTED = "a server in the shape of the service"
KINDS = {
    "trackers": "jira",
    "status_pages": "statuspage",
    "bridges": "zoom",
    "logs": "elasticsearch",
    "traces": "jaeger",
    "metrics": "newrelic",
}


@contextlib.contextmanager
def office(folder: Path) -> Iterator[Office]:
    """Serve the office; its password lies in a file."""
    folder.mkdir()
    (folder / "password").write_text(fixtures_office.PASSWORD)
    with fixtures_office.serving() as found:
        found.traces.append({"id": "a1", "service": "shop", "name": "GET /", "seconds": 2.0, "failed": True})
        yield found


def policy(office: Office, folder: Path) -> dict[str, Any]:
    """Return what policy.yaml says of it."""
    secret = {"secret": {"file": str(folder / "password")}}
    sites = {
        purpose: {
            "default": {"kind": kind, "url": office_answers.base(office.url, kind), **secret, **office_answers.settings(office.url, kind)}
        }
        for purpose, kind in KINDS.items()
    }
    return {**sites, "notify": {"office": {"url": f"json://127.0.0.1:{office.port}/notify", "events": []}}}


def _ticket(systems: Systems, name: str) -> str:
    issue = {"summary": f"{name} is slow", "labels": []}
    return str(office_answers.jira_create(systems.office, office_answers.Asked((), {}, {"fields": issue}), is_counted=False)[1]["key"])


def _tickets(systems: Systems, name: str) -> Any:
    found = (each["fields"] for each in tuple(systems.office.issues.values()))
    return [(each["status"]["name"], len(each["comments"])) for each in found if each["summary"].startswith(f"{name} ")]


def _told(systems: Systems, name: str) -> Any:
    return sum(each["title"].startswith(f"{name} ") for each in tuple(systems.office.told))


def _case(arguments: Mapping[str, Any], *, effects: int, make: Any = nothing, look: Any = nothing) -> Case:
    return Case(arguments=lambda _: arguments, make=make, look=look, effects=effects, counted=COUNTED)


def _posts(systems: Systems, name: str) -> Any:
    found = tuple(systems.office.incidents.values())
    return [(each["status"], len(each["incident_updates"])) for each in found if each["name"].startswith(f"{name} ")]


def _meetings(systems: Systems, name: str) -> Any:
    return sum(f" {name} " in each["topic"] for each in tuple(systems.office.meetings.values()))


CASES: Mapping[str, Case] = {
    "logs.search": _case({"query": NAME}, effects=0),
    "logs.wait": _case({"query": NAME, "below": 1}, effects=0),
    "metrics.query": _case({"query": NAME}, effects=0),
    "metrics.wait": _case({"query": NAME, "below": 1}, effects=0),
    "notify.send": _case({"to": ["office"], "title": f"{NAME} is slow", "text": "It is looked after."}, effects=1, look=_told),
    "bridge.open": _case({"title": f"{NAME} is slow"}, effects=1, look=_meetings),
    "status.update": _case({"status": "investigating", "title": f"{NAME} is slow", "message": "We look into it."}, effects=2, look=_posts),
    "ticket.close": _case({"ticket": THING}, effects=1, make=_ticket, look=_tickets),
    "ticket.comment": _case({"ticket": THING, "text": "It is looked after."}, effects=1, make=_ticket, look=_tickets),
    "ticket.open": _case({"title": f"{NAME} is slow"}, effects=2, look=_tickets),
    "traces.find": _case({"service": NAME}, effects=0),
    "traces.wait": _case({"service": "shop", "above": 0}, effects=0),
}
