"""An haproxy and an nginx, really running before two web servers, and a load on them that counts who answered and what failed."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self, cast

import pytest

from stopgap.policy.model import Nginx, Policy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("blue", "green")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 200
    name: str


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = cast("_Server", self.server).name.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        pass


@pytest.fixture
def backends() -> Iterator[dict[str, int]]:
    """Two web servers that answer with their names; name -> port."""
    servers = {}
    for name in NAMES:
        servers[name] = _Server(("127.0.0.1", 0), _Hello)
        servers[name].name = name
        threading.Thread(target=servers[name].serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield {name: server.server_address[1] for name, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


@dataclass(slots=True)
class Load:
    """Asks again and again, each time by a new connection, and counts the answers; `failed` names what went wrong."""

    port: int
    answers: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(2)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> Counter[str]:
        """Wait for so many more answers and return who gave them."""
        before, ends = self.answers.copy(), time.monotonic() + 30
        while sum(self.answers.values()) - sum(before.values()) < count:
            assert time.monotonic() < ends, self.failed[:3]
            time.sleep(0.01)
        return self.answers - before

    def _ask_on(self) -> None:
        while not self._ended.is_set():
            try:
                self.answers[ask(self.port)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))


def ask(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read().decode()
        if answer.status != http.client.OK:
            raise http.client.HTTPException(f"{answer.status} {body[:80]}")
        return body
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def until_answers(port: int) -> None:
    ends = time.monotonic() + 20
    while True:
        try:
            ask(port)
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < ends
            time.sleep(0.05)
        else:
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A running load balancer: the port it serves, the policy that names it "edge", the file of its configuration."""

    port: int
    policy: Policy
    file: Path
    admin: str = ""


def needed(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


@pytest.fixture
def haproxy(backends: dict[str, int], tmp_path: Path) -> Iterator[Front]:
    program, port, admin = needed("haproxy"), free_port(), free_port()
    path = tmp_path / "admin.sock"
    servers = "\n".join(f"  server {name} 127.0.0.1:{number} weight 50" for name, number in backends.items())
    file = tmp_path / "haproxy.cfg"
    file.write_text(
        f"global\n  stats socket {path} level admin\n  stats socket ipv4@127.0.0.1:{admin} level admin\n"
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 10s\n  timeout server 10s\n"
        f"frontend f\n  bind 127.0.0.1:{port}\n  default_backend web\nbackend web\n{servers}\n"
    )
    running = subprocess.Popen([program, "-db", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until_answers(port)
    yield Front(port=port, policy=Policy(haproxy={"edge": str(path), "tcp": f"127.0.0.1:{admin}"}), file=file, admin=str(path))
    running.kill()
    running.wait()


@pytest.fixture
def nginx(backends: dict[str, int], tmp_path: Path) -> Iterator[Front]:
    program, port = needed("nginx"), free_port()
    upstreams, main = tmp_path / "upstreams.conf", tmp_path / "nginx.conf"
    servers = "\n".join(f"    server 127.0.0.1:{number} weight=5 max_fails=3;" for number in backends.values())
    upstreams.write_text(f"upstream other {{\n    server 127.0.0.1:1;\n}}\nupstream web {{\n    least_conn;\n{servers}\n}}\n")
    temporary = "".join(f"  {kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main.write_text(
        f"pid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\nworker_processes 1;\nevents {{}}\n"
        f"http {{\n  access_log off;\n{temporary}  include {upstreams};\n"
        f"  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://web; }} }}\n}}\n"
    )
    user = ["-g", "daemon off; user root;"] if os.geteuid() == 0 else ["-g", "daemon off;"]
    base = (program, "-c", str(main), "-e", str(tmp_path / "error.log"))
    running = subprocess.Popen([*base, *user], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until_answers(port)
    policy = Policy(nginx={"edge": Nginx(file=upstreams, test=(*base, "-t"), reload=(*base, "-s", "reload"))})
    yield Front(port=port, policy=policy, file=upstreams)
    running.terminate()
    running.wait()
