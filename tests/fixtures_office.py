"""`Office`: trackers, status page, meetings, logs, traces and metrics of other people's services, as one server that keeps a state and records what it hears.

No such server can be had here. Paths, fields and answers are written from the services' own API references; what the real client libraries send is real.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote

import pytest

import office_answers
from fixtures_http import Heard
from stopgap.policy.alerting import Secret
from stopgap.policy.around import KINDS, Site
from stopgap.policy.model import Channel, Policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PASSWORD = "s3cret-of-the-office"
OBJECT = re.compile(r"[a-z]+(?:-[a-z]+)+-\d+\b")  # an object's name in the kill matrix


@dataclass(slots=True)
class Office:
    """The services' state. `answers` are statuses for the next changes, which then do not happen; `hangs_up`: a change is carried out and never answered.

    `garbage`: what every request is answered with. `is_late`: so many searches of Jira miss what is new. `effects` counts changes by the object that they name.
    """

    port: int = 0
    heard: list[Heard] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    retry_after: str = ""
    hangs_up: bool = False
    is_late: int = 0
    garbage: str | None = None
    deployment: str = "Server"
    issues: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[dict[str, str]] = field(default_factory=list)
    incidents: dict[str, dict[str, Any]] = field(default_factory=dict)
    components: dict[str, str] = field(default_factory=lambda: {"c-shop": "operational", "c-pay": "operational"})
    meetings: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, str]] = field(default_factory=list)
    traces: list[dict[str, Any]] = field(default_factory=list)
    value: float | None = 0.25
    series: int = 1
    effects: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def changes(self) -> list[str]:
        """What arrived and may have changed something."""
        return [
            f"{each.method} {each.path}" for each in self.heard if each.method != "GET" and not office_answers.READING.search(each.path)
        ]

    def site(self, purpose: str, kind: str, *, name: str = "default", secret: bool = True, **settings: Any) -> Site:
        own = {"user": "bot"} if kind == "servicenow" else {}
        given: dict[str, Any] = {**own, **{key: settings.pop(key) for key in ("user", "file", "components", "url") if key in settings}}
        return Site(
            purpose=purpose,
            name=name,
            kind=kind,
            **{"url": office_answers.base(self.url, kind), **given},
            secret=Secret(variable="OFFICE_PASSWORD") if secret else None,
            application_secret=Secret(variable="OFFICE_PASSWORD") if kind == "datadog" else None,
            settings={**office_answers.settings(self.url, kind), **settings},
        )

    def policy(self, *sites: Site) -> Policy:
        """A policy with these sites, and a channel "chat"."""
        around = {purpose: {site.name: site for site in sites if site.purpose == purpose} for purpose in KINDS}
        return Policy(around=around, channels=(Channel(name="chat", url=f"json://127.0.0.1:{self.port}/notify"),))

    def count(self, *texts: Any) -> None:
        found = OBJECT.search(json.dumps(texts))
        if found:
            self.effects[found[0]] += 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    office: Office

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed here."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        office = cast("_Server", self.server).office
        text = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        path, _, query = self.path.partition("?")
        heard = Heard(self.command, unquote(path), {key.lower(): value for key, value in self.headers.items()}, text or unquote(query))
        with office.lock:
            office.heard.append(heard)
            may_change = self.command != "GET" and not office_answers.READING.search(path)
            if may_change and office.answers:
                self._send(office.answers.pop(0), {"message": f"not now; you sent {PASSWORD}"}, {"retry-after": office.retry_after})
                return
            status, answer, headers = self._route(office, heard, parse_qs(query), _body(self.headers.get("content-type", ""), text))
        if office.garbage is not None:
            status, answer, headers = 200, office.garbage, {"x-elastic-product": "Elasticsearch"}
        if may_change and office.hangs_up:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(status, answer, headers)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  http.server's names

    def _route(self, office: Office, heard: Heard, query: Mapping[str, list[str]], body: Any) -> tuple[int, Any, Mapping[str, str]]:
        is_known = PASSWORD in json.dumps(dict(heard.headers)) or office_answers.knows(heard.headers.get("authorization", ""), PASSWORD)
        if not is_known and heard.path != "/notify":
            return 401, {"message": "who are you?"}, {}
        for pattern, answer in office_answers.ROUTES:
            found = re.fullmatch(pattern, f"{heard.method} {heard.path}")
            if found:
                given = answer(office, office_answers.Asked(found.groups(), {key: each[0] for key, each in query.items()}, body))
                return given if isinstance(given, tuple) else (200, given, {})
        return 404, {"message": f"nothing at {heard.method} {heard.path}"}, {}

    def _send(self, status: int, answer: Any, headers: Mapping[str, str]) -> None:
        text = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            for key, value in {"content-type": "application/json", **headers, "content-length": str(len(text))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        pass


def _body(kind: str, text: str) -> Any:
    if "x-www-form-urlencoded" in kind:
        return {key: each[0] for key, each in parse_qs(text).items()}
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return text


@contextlib.contextmanager
def serving() -> Iterator[Office]:
    """Serve a office."""
    server = _Server(("127.0.0.1", 0), _Answer)
    server.office = Office(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="office")
    thread.start()
    try:
        yield server.office
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """An empty office, and its password in the environment."""
    monkeypatch.setenv("OFFICE_PASSWORD", PASSWORD)
    with serving() as found:
        yield found
