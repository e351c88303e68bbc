"""`flags.switch` keeps the contract, on a service that listens on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from stopgap_example_flags import Switch

from stopgap.actions.contract import Probe
from stopgap.policy.model import Policy
from stopgap.testing.actions import ActionContract, Scene


class Service(ThreadingHTTPServer):
    """Flags, and the requests that may have changed one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.flags: dict[str, dict[str, Any]] = {"calm": {"enabled": False, "version": 1, "by": ""}}
        self.heard: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def write(self, name: str, wanted: dict[str, Any]) -> bool:
        flag = self.flags[name]
        if wanted["version"] == flag["version"]:
            self.flags[name] = {**wanted, "version": flag["version"] + 1}
        return self.flags[name] is not flag


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self.answer(200)

    def do_PUT(self) -> None:
        self.server.heard.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(200 if self.server.write(self.flag, body) else 412)

    @property
    def flag(self) -> str:
        return self.path.rpartition("/")[2]

    def answer(self, status: int) -> None:
        body = json.dumps(self.server.flags[self.flag]).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class TestSwitch(ActionContract):
    @pytest.fixture
    def scene(self, service: Service) -> Scene:
        def somebody_else() -> None:
            flag = service.flags["calm"]
            service.flags["calm"] = {**flag, "enabled": not flag["enabled"], "version": flag["version"] + 1}

        return Scene(
            action=Switch(service=service.url, flag="calm", enabled=True),
            policy=Policy(),
            look=lambda: service.flags["calm"]["enabled"],
            heard=lambda: service.heard,
            meddle=somebody_else,
            never={Probe.IN_PROGRESS: "one write, and it is done"},
        )
