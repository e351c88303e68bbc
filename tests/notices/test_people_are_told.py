"""Notices go out to real servers, at least once, once per delivery in the ordinary case, and hold nothing up."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import threading
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stopgap.approvals import attention, decide
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer, Attempt, Gate, Question
from stopgap.incidents.model import Mode, Run
from stopgap.incidents.open import open_incident, request_run
from stopgap.notices.outbox import Outbox
from stopgap.policy.model import ApprovalRules, BreakGlass, Channel, Event, Person, PersonId, Policy, Role, RoleName, Severity
from stopgap.runbook.model import ApprovalRequest, Runbook, StepId
from stopgap.timeline.chain import RESPONDERS
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.testing import ManualClock
    from stopgap.timeline.store import PostgresTimeline

COMMANDER = RoleName("incident-commander")
RUNBOOK = Runbook(name="r", title="R", description="", owner="ada", severity=Severity.SEV2, path=Path("r.yaml"), digest="0" * 64, steps=())
TOKEN = "tok3n-of-the-channel"


@dataclass(slots=True)
class Receiver:
    """A real HTTP server: takes notices, refuses them with 500, or lets them hang."""

    url: str = ""
    answer: int = 200
    hangs: threading.Event | None = None
    got: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if found.hangs:
                found.hangs.wait(20)
            if found.answer == 200:
                found.got.append(json.loads(body))
            with contextlib.suppress(OSError):
                self.send_response(found.answer)
                self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"json://127.0.0.1:{server.server_port}/{TOKEN}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    if found.hangs:
        found.hangs.set()
    server.shutdown()
    thread.join()
    server.server_close()


def policy(*channels: str, events: frozenset[Event] = frozenset(Event) - {Event.INCIDENT}, ada: str = "") -> Policy:
    return Policy(
        people={
            PersonId("ada"): Person(id=PersonId("ada"), name="Ada", notify=(ada,) if ada else ()),
            PersonId("ben"): Person(id=PersonId("ben"), name="Ben"),
        },
        roles={COMMANDER: Role(name=COMMANDER, holders=(PersonId("ada"),), deputies=(PersonId("ben"),))},
        channels=tuple(Channel(name=f"chat{number}", url=url, events=events) for number, url in enumerate(channels)),
        approvals=ApprovalRules(require_code=False, break_glass=BreakGlass(people=(PersonId("ben"),), after=timedelta(minutes=5))),
    )


def ask(timeline: PostgresTimeline, *, mode: Mode = Mode.LIVE, title: str = "Checkout is slow") -> tuple[Run, Gate]:
    key = uuid.uuid4().hex
    incident = open_incident(timeline, title=title, severity=Severity.SEV2, actor="zoe", key=key, drill=mode is not Mode.LIVE)
    run = request_run(timeline, incident=incident, runbook=RUNBOOK, parameters={}, mode=mode, starter="zoe", key=key)
    gate = gates.ask(
        timeline,
        run,
        step=StepId("shift"),
        question=Question.APPROVE,
        request=ApprovalRequest(by=(COMMANDER,)),
        expires=timedelta(minutes=20),
        asks={"digest": "d"},
        text="Shift: may this be done? checkout: 3 -> 9 replicas",
        allow_self=False,
    )
    return run, gate


def outbox(timeline: PostgresTimeline, clock: ManualClock, rules: Policy, **parts: Any) -> Outbox:
    return Outbox(timeline=timeline, clock=clock, policy=lambda _: rules, **{"first_pause": timedelta(0), **parts})


def go(*boxes: Outbox) -> None:
    """Let each look and send, and wait for what is on its way."""
    for box in boxes:
        box()
    for box in boxes:
        box.wait(20)


def said(timeline: PostgresTimeline, *kinds: str) -> list[str]:
    return [entry.text for entry in timeline.of_kind(*(kinds or ("notice.sent", "notice.failed")))]


def test_a_question_a_reminder_and_the_decision_are_told_once_each(
    timeline: PostgresTimeline, clock: ManualClock, receiver: Receiver
) -> None:
    run, gate = ask(timeline)
    box = outbox(timeline, clock, policy(receiver.url), link=lambda flow_run: f"http://ui/{flow_run}")
    timeline.append(run.draft("run.scheduled", "handed over", data={"flow_run": "f1"}))
    go(box)
    go(box)
    clock.advance(timedelta(minutes=10))
    attention.pay(timeline, policy(), clock, run)
    go(box)
    attempt = Attempt(id="1", person="ada", answer=str(Answer.APPROVE), digest=gate.digest, reason="", channel="test")
    decide.decide(timeline, box.policy("") or policy(), clock, run=run, attempt=attempt)
    go(box)
    go(box)
    asked, reminded = receiver.got[:2]
    assert asked["title"] == f"{run.incident} SEV2: Checkout is slow - decide, please"
    assert asked["message"] == (
        "Shift: may this be done? checkout: 3 -> 9 replicas\nLook and answer: http://ui/f1\n"
        f"or type:  stopgap approve {run.id}   (or stopgap reject {run.id})"
    )
    assert reminded["message"].startswith("shift still waits for incident-commander: 10m left, then it expires.")
    assert {each["message"] for each in receiver.got[2:]} == {
        "ada (incident-commander) approved shift",
        f"ada takes command of {run.incident} with this decision: nobody held it",
    }
    assert sorted(said(timeline)) == ["Told chat0: ask", "Told chat0: decide", "Told chat0: remind", "Told chat0: role"]


def test_a_mail_arrives_as_text_whatever_the_names_hold(timeline: PostgresTimeline, clock: ManualClock) -> None:
    from aiosmtpd.controller import Controller

    class Box:
        def __init__(self) -> None:
            self.mails: list[Any] = []

        async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
            self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
            return "250 OK"

    box = Box()
    smtp = Controller(box, hostname="127.0.0.1", port=_free_port())
    smtp.start()
    try:
        ask(timeline, title="<b>Shop</b>\r\nBcc: eve@example.com @everyone")
        url = f"mailto://127.0.0.1:{smtp.port}?from=stopgap@example.com&to=ada@example.com&mode=insecure"
        go(outbox(timeline, clock, policy(ada=url)))
    finally:
        smtp.stop()
    assert said(timeline) == ["Told ada: ask"]
    (mail,) = box.mails
    assert (mail["To"], mail["Bcc"]) == ("ada@example.com", None)
    assert "<b>Shop</b>" in mail["Subject"]
    assert "@everyone" not in mail["Subject"]


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_what_fails_is_tried_again_and_never_written_with_its_address(
    timeline: PostgresTimeline, clock: ManualClock, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, gate = ask(timeline)
    receiver.answer = 500
    monkeypatch.setenv("CHAT", receiver.url)
    box = outbox(timeline, clock, policy("${CHAT}", "${NOT_SET}", f"json://host.invalid/{TOKEN}", events=frozenset({Event.ASK})))
    go(box)
    go(box)
    failed = said(timeline, "notice.failed")
    assert len(failed) == 3
    assert "Could not tell chat1 (ask) yet: ${NOT_SET} is not set where the worker runs" in failed
    assert any(text.startswith("Could not tell chat0 (ask) yet: ") and "500" in text for text in failed)
    receiver.answer = 200
    go(box)
    assert said(timeline, "notice.sent") == ["Told chat0: ask"]
    assert gate.is_open
    everything = caplog.text + "".join(json.dumps([entry.text, dict(entry.data)]) for entry in timeline.of_chain(run.incident))
    assert TOKEN not in everything


def test_a_delivery_is_given_up_at_last(timeline: PostgresTimeline, clock: ManualClock) -> None:
    ask(timeline)
    box = outbox(timeline, clock, policy("${NOT_SET}"))
    for _ in range(12):
        go(box)
    assert said(timeline) == [
        "Could not tell chat0 (ask) yet: ${NOT_SET} is not set where the worker runs",
        "Could not tell chat0 (ask), given up after 8 times: ${NOT_SET} is not set where the worker runs",
    ]


def test_a_channel_that_hangs_keeps_nobody_else_waiting(timeline: PostgresTimeline, clock: ManualClock, receiver: Receiver) -> None:
    ask(timeline)
    receiver.hangs = threading.Event()
    other = Receiver()
    box = outbox(timeline, clock, policy(receiver.url, "${NOT_SET}"), within=timedelta(seconds=3))
    box()
    assert not any("no answer" in text for text in said(timeline))  # it did not wait for the one that hangs
    box.wait(20)
    assert sorted(said(timeline)) == [
        "Could not tell chat0 (ask) yet: no answer within 3 s",
        "Could not tell chat1 (ask) yet: ${NOT_SET} is not set where the worker runs",
    ]
    assert other.got == []


def test_two_workers_and_a_restart_send_one_notice(timeline: PostgresTimeline, clock: ManualClock, receiver: Receiver) -> None:
    for _ in range(5):
        ask(timeline)
    rules = policy(receiver.url)
    boxes = [outbox(timeline, clock, rules) for _ in range(4)]
    threads = [threading.Thread(target=go, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(3):
        go(*boxes, outbox(timeline, clock, rules))
    assert len(receiver.got) == len(said(timeline)) == 5


def test_a_worker_that_died_while_sending_is_made_up_for(timeline: PostgresTimeline, clock: ManualClock, receiver: Receiver) -> None:
    run, _ = ask(timeline)
    (asked,) = timeline.of_kind("gate.asked")
    assert timeline.deliveries.claim(f"{run.incident}#{asked.number}", "chat0") == 1  # it claimed, and was killed
    box = outbox(timeline, clock, policy(receiver.url))
    go(box)
    assert receiver.got == []
    timeline.deliveries.put_off(f"{run.incident}#{asked.number}", "chat0", timedelta(0))  # its lease is over
    go(box)
    assert len(receiver.got) == 1


@pytest.mark.parametrize("mode", [Mode.DRY, Mode.DRILL])
def test_a_dry_run_and_a_drill_tell_nobody(timeline: PostgresTimeline, clock: ManualClock, receiver: Receiver, mode: Mode) -> None:
    ask(timeline, mode=mode)
    go(outbox(timeline, clock, policy(receiver.url)))
    assert (receiver.got, said(timeline)) == ([], [])


def test_old_news_and_closed_questions_are_told_to_nobody(timeline: PostgresTimeline, clock: ManualClock, receiver: Receiver) -> None:
    ask(timeline)
    clock.advance(timedelta(minutes=21))
    go(outbox(timeline, clock, policy(receiver.url)))
    clock.advance(timedelta(hours=2))
    go(outbox(timeline, clock, policy(receiver.url)))
    assert receiver.got == []


def test_a_broken_glass_is_told_everywhere(timeline: PostgresTimeline, clock: ManualClock, receiver: Receiver) -> None:
    run, gate = ask(timeline)
    clock.advance(timedelta(minutes=5))
    rules = policy(receiver.url, events=frozenset({Event.ENROL}))
    glass = Attempt(
        id="1", person="ben", answer=str(Answer.APPROVE), digest=gate.digest, reason="nobody", channel="terminal", breaks_glass=True
    )
    decide.decide(timeline, rules, clock, run=run, attempt=glass)
    go(outbox(timeline, clock, rules))
    (told,) = receiver.got
    assert told["title"].endswith(" - BREAK GLASS")
    assert told["message"] == "BREAK GLASS: ben (incident-commander) approved shift alone: nobody"


def test_who_was_enrolled_and_whose_codes_are_guessed_is_told(timeline: PostgresTimeline, clock: ManualClock, receiver: Receiver) -> None:
    for kind, text in (("responder.enrolled", "ben enrolled ada for one-time codes"), ("responder.guessed", "A wrong one-time code")):
        timeline.append(Draft(chain=RESPONDERS, kind=kind, actor="ben", text=text, data={"person": "ada", "enrolment": "e"}))
    go(outbox(timeline, clock, policy(ada=receiver.url)))
    assert [each["message"].splitlines()[0] for each in sorted(receiver.got, key=lambda each: str(each["message"]))] == [
        "A wrong one-time code",
        "ben enrolled ada for one-time codes",
    ]
