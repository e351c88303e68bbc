"""A service over HTTP that really keeps a state, records what it hears, and goes wrong as told."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Heard:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str


@dataclass(slots=True)
class Service:
    """`/things/NAME` holds a JSON object: PUT sets, POST adds to its list "all", DELETE removes, GET reads, with 404 when it is not there.

    `answers` are statuses for the next changes; what they ask for happens when `happens`. `location` goes with a redirect. `drips`: an answer comes
    a byte at a time and never ends. `hangs_up`: a change is carried out, and the connection closed without an answer.
    """

    port: int
    things: dict[str, Any] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    location: str = "/elsewhere"
    happens: bool = True
    drips: bool = False
    hangs_up: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/things/{name}"

    def changes(self) -> list[str]:
        return [f"{each.method} {each.path}" for each in self.heard if each.method != "GET"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    service: Service


class _Things(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        service = cast("_Server", self.server).service
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        service.heard.append(Heard(self.command, self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        status, answer = self._carried_out(service, body)
        if service.hangs_up and self.command != "GET":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        text = json.dumps(answer).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            if status // 100 == 3:
                self.send_header("location", service.location)
            self.end_headers()
            while service.drips and not service.ended.wait(0.05):
                self.wfile.write(b" ")
                self.wfile.flush()
            self.wfile.write(text)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  http.server's names

    def _carried_out(self, service: Service, body: str) -> tuple[int, Any]:
        name = self.path.rpartition("/")[2]
        if self.command == "GET":
            return (200, service.things[name]) if name in service.things else (404, None)
        status = service.answers.pop(0) if service.answers else 200
        if status < 300 or service.happens:
            if self.command == "DELETE":
                service.things.pop(name, None)
            elif self.command == "PUT":
                service.things[name] = json.loads(body)
            else:
                service.things.setdefault(name, {"all": []})["all"].append(json.loads(body or "null"))
        return status, service.things.get(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    server = _Server(("127.0.0.1", 0), _Things)
    server.service = Service(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.service
    server.service.ended.set()
    server.shutdown()
    server.server_close()
    thread.join()
