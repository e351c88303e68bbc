"""Pages reach people and services, updates the channels they are meant for, and what is restricted only those it is restricted to."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from stopgap.engine.overseeing import Overseer
from stopgap.incidents import changes, fold, paging, tasks
from stopgap.incidents.open import open_incident
from stopgap.notices import services
from stopgap.notices.outbox import Outbox
from stopgap.policy.incidents import IncidentRules, OnCall
from stopgap.policy.model import Channel, Event, Person, PersonId, Policy, Role, RoleName, Severity
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.incidents.model import Incident
    from stopgap.testing import ManualClock
    from stopgap.timeline.store import PostgresTimeline

ADA, BEN, EVE = map(PersonId, ("ada", "ben", "eve"))
COMMANDER, COMMS, OTHER = map(RoleName, ("incident-commander", "communications-lead", "technical-lead"))
KEY = "integration-key-0123456789abcdef"


@dataclass(slots=True)
class Recorder:
    """A real HTTP server that keeps what it is sent, by path, and answers as the services do."""

    base: str = ""
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def at(self, path: str) -> list[dict[str, Any]]:
        return [body for where, body in self.got if where.startswith(path)]

    def json(self, path: str) -> str:
        return f"json://{self.base}/{path}"


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    found = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            with contextlib.suppress(OSError):
                self.send_response(202)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(b'{"result": "Request will be processed", "took": 0.1, "requestId": "43a29c5c"}')

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.base = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def rules(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Policy:
    """A policy whose people, channels and services are all the recorder."""
    from apprise.plugins import opsgenie

    monkeypatch.setitem(services.PAGERDUTY, "eu", f"http://{recorder.base}/v2/enqueue")
    monkeypatch.setitem(opsgenie.OPSGENIE_API_LOOKUP, opsgenie.OpsgenieRegion.US, f"http://{recorder.base}/v2/alerts")
    monkeypatch.setitem(services.OPSGENIE, "us", f"http://{recorder.base}/v2/alerts")
    paging_services = (f"pagerduty://{KEY}@unused?region=eu", "opsgenie://9a8b7c6d-0000-1111-2222-333344445555/")
    return Policy(
        people={
            ADA: Person(id=ADA, name="Ada", notify=(recorder.json("ada"),), page=(recorder.json("ada-pager"),)),
            BEN: Person(id=BEN, name="Ben", notify=(recorder.json("ben"),)),
            EVE: Person(id=EVE, name="Eve", notify=(recorder.json("eve"),)),
        },
        roles={
            COMMANDER: Role(name=COMMANDER, holders=(ADA,), deputies=(BEN,)),
            COMMS: Role(name=COMMS, holders=(BEN,)),
            OTHER: Role(name=OTHER, holders=(EVE,)),
        },
        channels=(
            Channel(name="chat", url=recorder.json("chat"), events=frozenset(Event) - {Event.INCIDENT}),
            Channel(name="status", url=recorder.json("status"), audience="public"),
            Channel(name="vault", url=recorder.json("vault"), events=frozenset({Event.UPDATE, Event.TASK}), restricted=True),
        ),
        incidents=IncidentRules(url="https://stopgap.example.com"),
        on_call={COMMANDER: OnCall(page=paging_services)},
    )


def opened(timeline: PostgresTimeline) -> Incident:
    return fold.find_incident(timeline, open_incident(timeline, title="Shop", severity=Severity.SEV2, actor="zoe", key="k"))


def go(timeline: PostgresTimeline, clock: ManualClock, rules: Policy) -> None:
    Overseer(timeline, clock, lambda: rules)()
    box = Outbox(timeline=timeline, clock=clock, policy=lambda _: rules, first_pause=timedelta(0))
    box()
    box.wait(20)


def test_a_page_wakes_the_person_with_a_link_of_their_own_and_the_services(
    timeline: PostgresTimeline, clock: ManualClock, recorder: Recorder, rules: Policy
) -> None:
    incident = opened(timeline)
    paging.ask(timeline, incident, role=COMMANDER, by="eve", why="all is slow", key="p")
    go(timeline, clock, rules)
    (woken,) = recorder.at("/ada-pager")
    assert woken["title"] == "INC-1 SEV2: Shop - PAGE"
    link = f"https://stopgap.example.com/pages/INC-1.p1/ada/{timeline.token('acknowledge/INC-1.p1/ada')}"
    assert woken["message"].splitlines() == [
        f"Acknowledge: {link}",
        "Paged ada and its service for incident-commander: nobody has acknowledged",
        "all is slow",
        "or type:  stopgap incident ack INC-1",
        "The incident: https://stopgap.example.com/incidents/INC-1",
    ]
    assert recorder.at("/ada") == recorder.at("/ada-pager")
    (event,) = recorder.at("/v2/enqueue")
    assert (event["routing_key"], event["event_action"], event["dedup_key"]) == (KEY, "trigger", "INC-1.p1")
    assert (event["payload"]["summary"], event["payload"]["severity"]) == ("INC-1 SEV2: Shop - PAGE", "critical")
    (alert,) = recorder.at("/v2/alerts")
    assert (alert["alias"], alert["message"]) == ("INC-1.p1", "INC-1 SEV2: Shop - PAGE")
    assert not any("/pages/" in json.dumps(body) for path, body in recorder.got if not path.startswith("/ada"))


def test_rings_are_one_incident_at_the_service_which_our_acknowledgement_ends(
    timeline: PostgresTimeline, clock: ManualClock, recorder: Recorder, rules: Policy
) -> None:
    incident = opened(timeline)
    paging.ask(timeline, incident, role=COMMANDER, by="eve", why="", key="p")
    go(timeline, clock, rules)
    clock.advance(timedelta(minutes=5))
    go(timeline, clock, rules)
    assert len(recorder.at("/ada-pager")) == 2
    assert len(recorder.at("/ben")) == 1
    changes.acknowledge(timeline, incident, person="ben", policy=rules)
    clock.advance(timedelta(minutes=5))
    go(timeline, clock, rules)
    assert [(each["event_action"], each["dedup_key"]) for each in recorder.at("/v2/enqueue")] == [
        ("trigger", "INC-1.p1"),
        ("trigger", "INC-1.p1"),
        ("acknowledge", "INC-1.p1"),
    ]
    assert [each["alias"] for each in recorder.at("/v2/alerts") if "alias" in each] == ["INC-1.p1", "INC-1.p1"]
    assert len(recorder.at("/v2/alerts/INC-1.p1/acknowledge?identifierType=alias")) == 1
    assert recorder.at("/ada-pager")[-1]["message"].startswith("ben acknowledged the page of incident-commander by terminal")


def test_who_acknowledges_before_it_was_sent_wakes_nobody(
    timeline: PostgresTimeline, clock: ManualClock, recorder: Recorder, rules: Policy
) -> None:
    incident = opened(timeline)
    paging.ask(timeline, incident, role=COMMANDER, by="stopgap", why="", key="p")
    Overseer(timeline, clock, lambda: rules)()
    changes.acknowledge(timeline, incident, person="ben", policy=rules)
    go(timeline, clock, rules)
    assert not any("Paged" in body.get("message", "") for _, body in recorder.got)


def test_no_key_of_a_service_stands_on_the_timeline(
    timeline: PostgresTimeline, clock: ManualClock, rules: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(services.PAGERDUTY, "eu", "http://127.0.0.1:9/")
    paging.ask(timeline, opened(timeline), role=COMMANDER, by="eve", why="", key="p")
    go(timeline, clock, rules)
    failed = [entry.text for entry in timeline.of_kind("notice.failed")]
    assert any(text.startswith("Could not tell incident-commander's service (page) yet: ConnectError") for text in failed)
    everything = json.dumps([[entry.text, dict(entry.data)] for entry in timeline.of_chain("INC-1")])
    assert KEY not in everything
    assert timeline.token("acknowledge/INC-1.p1/ada") not in everything


def test_an_update_is_one_message_to_the_channels_of_its_audience(
    timeline: PostgresTimeline, clock: ManualClock, recorder: Recorder, rules: Policy
) -> None:
    opened(timeline)
    eta = (clock.now() + timedelta(minutes=20)).isoformat()
    for audience, text in (("internal", "We roll back."), ("public", "Payments may fail.")):
        data = {"text": text, "audience": audience, "eta": eta}
        timeline.append(Draft(chain="INC-1", incident="INC-1", kind="update.sent", actor="ada", text=f"ada tells: {text}", data=data))
    go(timeline, clock, rules)
    said = {path.strip("/"): [each["message"] for each in recorder.at(path)] for path in ("/chat", "/status", "/vault")}
    inside = "We roll back.\nExpected to be over: 2026-11-21 03:20 UTC.\nNext update: 2026-11-21 04:00 UTC.\nThe incident: https://stopgap.example.com/incidents/INC-1"
    public = "Payments may fail.\nExpected to be over: 2026-11-21 03:20 UTC."
    assert sorted(said["chat"]) == sorted(said["vault"]) == [public, inside]
    assert said["status"] == [public]
    assert recorder.at("/status")[0]["title"] == "Update, 2026-11-21 03:00 UTC"
    assert not re.search("INC-1|SEV2|Shop", json.dumps(recorder.at("/status")))


def test_of_a_restricted_incident_only_its_roles_and_channels_hear(
    timeline: PostgresTimeline, clock: ManualClock, recorder: Recorder, rules: Policy
) -> None:
    incident = opened(timeline)
    changes.restrict(timeline, incident, person="ada", restricted=True, reason="")
    for owner in ("eve", "ben"):
        tasks.add(timeline, incident, person="ada", text="look at the mail", owner=owner, due=None)
    paging.ask(timeline, incident, role=OTHER, by="ada", why="", key="p")
    data = {"text": "Somebody reads our mail.", "audience": "internal", "eta": ""}
    timeline.append(Draft(chain="INC-1", incident="INC-1", kind="update.sent", actor="ada", text="t", data=data))
    go(timeline, clock, rules)
    assert {path for path, _ in recorder.got} == {"/vault", "/ben"}
    assert len(recorder.at("/ben")) == 1


def test_reminders_reach_the_communications_role_and_the_commander(
    timeline: PostgresTimeline, clock: ManualClock, recorder: Recorder, rules: Policy
) -> None:
    opened(timeline)
    clock.advance(timedelta(hours=1))
    go(timeline, clock, replace(rules, channels=()))
    checkpoint, update = "INC-1 SEV2: Shop - checkpoint", "INC-1 SEV2: Shop - an update is due"
    assert sorted(each["title"] for each in recorder.at("/ben")) == [update, checkpoint]  # he may command, as nobody does
    assert [each["title"] for each in recorder.at("/ada")] == [checkpoint]


def test_a_channel_hears_of_incidents_of_its_severities(
    timeline: PostgresTimeline, clock: ManualClock, recorder: Recorder, rules: Policy
) -> None:
    bad = Channel(name="bad", url=recorder.json("bad"), severities=frozenset({Severity.SEV1}))
    every = Channel(name="every", url=recorder.json("every"))
    rules = replace(rules, channels=(bad, every))
    incident = opened(timeline)
    go(timeline, clock, rules)
    assert [path for path, _ in recorder.got] == ["/every"]
    assert recorder.at("/every")[0]["message"].splitlines() == [
        "Incident opened: Shop (SEV2)",
        "Look after it:  stopgap incident ack INC-1",
        "The incident: https://stopgap.example.com/incidents/INC-1",
    ]
    changes.grade(timeline, incident, person="ada", severity=Severity.SEV1, reason="all regions")
    go(timeline, clock, rules)
    assert "ada set INC-1 to SEV1, before SEV2: all regions" in [each["message"] for each in recorder.at("/bad")]
    changes.resolve(timeline, fold.find_incident(timeline, "INC-1"), person="ada", reason="", sure=True)
    go(timeline, clock, rules)
    assert "ada resolved INC-1" in [each["message"] for each in recorder.at("/bad")]
