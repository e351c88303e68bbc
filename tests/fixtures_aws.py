"""AWS for a test: moto as a server process, and a proxy in front of it that records what arrives, and can lose answers or give its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import parse_qs

import botocore.session
import httpx
import pytest

from stopgap.actions.contract import Context
from stopgap.clock import SystemClock
from stopgap.policy.model import Account, AccountName, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from email.message import Message
    from pathlib import Path

PROD = AccountName("prod")
NUMBER, REGION = "123456789012", "eu-west-1"
# By the protocols' own words, and not by the product's list.
_READING = re.compile(r"(Describe|List|Get|AssumeRole)[A-Za-z]*$|GET ")
KEYS = "[stopgap]\naws_access_key_id = AKIATEST\naws_secret_access_key = test\n"


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived: `operation` is what it says it is, as far as the protocol says it."""

    operation: str
    path: str
    body: str
    agent: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Canned:
    """An answer of our own, written from AWS's API reference, for an operation that moto does not have or gets wrong."""

    body: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: Callable[[], str] | None = None  # instead of a body: what it is by then


@dataclass(slots=True, kw_only=True)
class Cloud:
    """An account of moto behind the proxy.

    `lose`: operations that are carried out and whose answer is dropped, so many times. `refuse`: those answered with AccessDenied. `canned`: see Canned;
    a list is used up from its front, its last one stays. `edits` change what moto answered.
    """

    moto: str
    folder: Path
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    lose: dict[str, int] = field(default_factory=dict)
    refuse: set[str] = field(default_factory=set)
    canned: dict[str, list[Canned]] = field(default_factory=dict)
    edits: dict[str, Callable[[str], str]] = field(default_factory=dict)
    away: bool = False

    def policy(self, **changes: Any) -> Policy:
        values = {"profile": "stopgap", "credentials": self.folder / "credentials", "config": self.folder / "config", **changes}
        account = Account(**{"name": PROD, "id": NUMBER, "region": REGION, "endpoint_url": self.url, **values})
        return Policy(accounts={PROD: account})

    def context(
        self, *, seconds: float = 20, mark: str = "INC-1.1/step/1", mode: Literal["live", "dry"] = "live", **changes: Any
    ) -> Context:
        clock = SystemClock()
        policy = self.policy(**changes)
        return Context(policy=policy, clock=clock, deadline=clock.now() + timedelta(seconds=seconds), mark=mark, mode=mode)

    def admin(self, service: str) -> Any:
        """A client of the test's own, past the proxy."""
        session = botocore.session.Session()
        keys = {"aws_access_key_id": "AKIAADMIN", "aws_secret_access_key": "test"}
        return session.create_client(service, region_name=REGION, endpoint_url=self.moto, **keys)

    @property
    def operations(self) -> list[str]:
        return [call.operation for call in self.calls]

    def sent(self) -> list[Call]:
        """What arrived and may have changed something."""
        return [call for call in self.calls if not _READING.match(call.operation) and "&DryRun=true" not in call.body]

    def changes(self) -> list[str]:
        """What arrived and may have changed something, by name."""
        return [call.operation for call in self.sent()]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    cloud: Cloud
    moto: httpx.Client


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = cast("_Server", self.server)
        cloud, body = server.cloud, self.rfile.read(int(self.headers.get("content-length", 0)))
        call = Call(self._operation(body), self.path, body.decode(errors="replace"), self.headers.get("user-agent", ""), self._key())
        cloud.calls.append(call)
        if cloud.away:
            self.close_connection = True
            return
        if call.operation in cloud.refuse:
            self._answer(403, _denied(call.operation, self.headers), {"content-type": "text/xml"})
            return
        status, content, headers = self._answer_of(call, body)
        if cloud.lose.get(call.operation, 0) > 0:
            cloud.lose[call.operation] -= 1
            self.close_connection = True
            return
        self._answer(status, content, headers)

    def _answer_of(self, call: Call, body: bytes) -> tuple[int, bytes, Mapping[str, str]]:
        server = cast("_Server", self.server)
        cloud = server.cloud
        canned = cloud.canned.get(call.operation)
        if canned:
            found = canned.pop(0) if len(canned) > 1 else canned[0]
            text = found.answer() if found.answer else found.body
            kind = "text/xml" if text.startswith("<") else "application/json"
            return found.status, text.encode(), {"content-type": kind, **found.headers}
        headers = {key: value for key, value in self.headers.items() if key.lower() not in {"host", "content-length"}}
        answer = server.moto.request(self.command, self.path, content=body, headers=headers)
        content = cloud.edits.get(call.operation, _as_it_is)(answer.text).encode()
        return answer.status_code, content, {"content-type": answer.headers.get("content-type", "text/xml")}

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET  # noqa: N815  http.server's names

    def _key(self) -> str:
        found = re.search(r"Credential=(\w+)/", self.headers.get("authorization", ""))
        return found[1] if found else ""

    def _operation(self, body: bytes) -> str:
        target = self.headers.get("x-amz-target")
        if target:
            return target.rsplit(".", 1)[-1]
        action = parse_qs(body.decode(errors="replace")).get("Action")
        return action[0] if action else f"{self.command} {self.path.split('?')[0]}"

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        pass


def _as_it_is(text: str) -> str:
    return text


def _denied(operation: str, headers: Message) -> bytes:
    service = headers.get("authorization", "").split("/")[3]
    said = f"User: arn:aws:iam::{NUMBER}:user/night is not authorized to perform: {service}:{operation}"
    return (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{said}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    ).encode()


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stderr
        url = next(found[1] for line in server.stderr if (found := re.search(r"Running on (http://\S+)", line)))
        drain = threading.Thread(target=server.stderr.read, daemon=True)
        drain.start()
        yield url
        server.terminate()
        server.wait(10)
        drain.join(10)


@pytest.fixture
def cloud(moto_server: str, tmp_path: Path) -> Iterator[Cloud]:
    """An empty account."""
    (tmp_path / "credentials").write_text(KEYS)
    (tmp_path / "config").write_text("")
    with httpx.Client(base_url=moto_server, trust_env=False, timeout=30) as client:
        client.post("/moto-api/reset").raise_for_status()
        server = _Server(("127.0.0.1", 0), _Forward)
        server.moto = client
        server.cloud = Cloud(moto=moto_server, folder=tmp_path, url=f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.cloud
        server.shutdown()
        server.server_close()
        thread.join()
