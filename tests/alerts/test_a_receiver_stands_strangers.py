"""Limits: what is too long, too slow, encoded or silent is refused, and the receiver goes on."""

from __future__ import annotations

import json
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from fixtures_alerts import TOKEN, alert, group_of
from stopgap.web import bodies, connections

if TYPE_CHECKING:
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
