"""Limits: what is too long, too slow, encoded or silent is refused, and the receiver goes on."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import resource
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from payloads import PAGERDUTY

from fixtures_alerts import TOKEN, alert, group_of, serving
from stopgap import home
from stopgap.timeline import open as opening
from stopgap.timeline import postgres
from stopgap.web import bodies, connections

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures_alerts import Desk


def connect(desk: Desk) -> socket.socket:
    host, _, port = desk.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_a_body_of_100_mb_is_refused_before_it_is_read(desk: Desk) -> None:
    with connect(desk) as link:
        head = f"POST /alerts/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        link.sendall(head.encode() + b"x" * 10_000)
        answer = ""
        while "error" not in answer and (part := link.recv(4000)):
            answer += part.decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert "The body has more than 1000000 bytes" in answer
    assert desk.post(group_of(alert())).status_code == 202


def test_a_body_that_comes_too_slowly_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SECONDS", 0.3)
    with connect(desk) as link:
        link.sendall(b"POST /alerts/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert link.recv(4000).decode().startswith("HTTP/1.1 408 ")


def test_a_thousand_silent_connections_are_closed_and_keep_nobody_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WITHIN", 2.0)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < 4_000:
        pytest.skip("this account may not open 4,000 files, and both ends of each connection are in this process")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4_000, before[1]))
    links = [connect(desk) for _ in range(1_000)]
    try:
        assert desk.post(group_of(alert())).status_code == 202
        assert links[0].recv(100) == b""
        assert links[-1].recv(100) == b""
    finally:
        for link in links:
            link.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_head_that_never_ends_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WITHIN", 0.3)
    for beginning in (b"POST /alerts/alertmanager HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal"):
        with connect(desk) as link:
            link.sendall(beginning)
            while link.recv(4000):
                pass


def test_a_head_that_is_too_long_is_not_read_on(desk: Desk) -> None:
    endless = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 20_000_000
    with connect(desk) as link, pytest.raises(OSError, match=r"reset|pipe"):
        link.sendall(endless)
    assert desk.post(group_of(alert())).status_code == 202


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"version":"4","alerts":[1e999]}', b"NaN", b'{"a":' + b"9" * 5000 + b"}"]
)
def test_garbage_is_refused_with_a_sentence(desk: Desk, body: bytes) -> None:
    answer = desk.post(body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_an_encoded_body_is_not_taken(desk: Desk) -> None:
    answer = desk.post(json.dumps(group_of(alert())).encode(), **{"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]) == (415, "The body is encoded as gzip; send it as it is.")


def test_how_it_is_can_be_asked(desk: Desk) -> None:
    desk.post(group_of(alert()))
    assert desk.http.get("/healthz").text == "ok\n"
    assert desk.http.get("/readyz").json() == {"ready": True, "because": ""}
    text = desk.http.get("/metrics").text
    assert 'stopgap_deliveries_total{answer="202",source="alertmanager"} 1.0' in text
    assert 'stopgap_alerts_total{source="alertmanager",status="firing"} 1.0' in text


def test_the_very_delivery_with_its_signature_sent_again_is_not_taken_twice(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGERDUTY_SECRET", "shared")
    with (desk.folder / "policy.yaml").open("a") as policy:
        policy.write("    pagerduty: {secret: {env: PAGERDUTY_SECRET}}\n")
    body = json.dumps(PAGERDUTY).encode()
    signature = {"X-PagerDuty-Signature": f"v1={hmac.new(b'shared', body, hashlib.sha256).hexdigest()}"}
    answers = [desk.post(body, source="pagerduty", **signature) for _ in range(2)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (202, {"accepted": 1}),
        (202, {"accepted": 0, "because": "it was accepted before"}),
    ]
    assert desk.post(body.replace(b"bump", b"jump"), source="pagerduty", **signature).status_code == 401


def test_while_the_database_is_away_nothing_is_accepted_and_what_was_accepted_is_acted_on_afterwards(
    alert_rules: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with home.temporary() as folder:
        monkeypatch.setenv("STOPGAP_HOME", str(folder))
        monkeypatch.delenv("STOPGAP_DATABASE_URL", raising=False)
        with postgres.start(folder) as database, opening.timeline() as timeline, serving(timeline, alert_rules) as desk:
            assert desk.post(group_of(alert(service="before"))).status_code == 202
            (pid_file,) = (folder / "postgres").glob("[0-9]*/postmaster.pid")
            os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGQUIT)  # as if it had been killed: no connection is ended in order
            while pid_file.exists():
                time.sleep(0.02)
            refused = desk.post(group_of(alert(service="during")))
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
            assert refused.json() == {"error": "It cannot be written down now. Send it again."}
            ready = desk.http.get("/readyz")
            assert (ready.status_code, ready.json()["because"]) == (503, "The timeline's database cannot be reached.")
            with postgres.start(folder):
                assert desk.post(group_of(alert(service="during"))).status_code == 202
                desk.settle()
                assert desk.runs() == ["INC-1.1", "INC-2.1"]
                assert desk.http.get("/readyz").status_code == 200
            assert database
    assert [record for record in caplog.records if record.exc_info and record.name.startswith("stopgap")] == []
