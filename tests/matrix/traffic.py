"""An haproxy and an nginx that really run, and the cases of the actions on them: each run has a backend or a file of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import re
import shlex
import shutil
import socket
import socketserver
import subprocess
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from fixtures_traffic import NAMES, free_port
from matrix.case import THING, Case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from matrix.systems import Systems

MOST = 250  # backends and files there are
_SET = re.compile(rb"set server (\w+)/")


@dataclass(slots=True)
class Front:
    """A load balancer: the backends or files that no run has had yet, whose each one is, and how often each was changed."""

    folder: Path
    address: str = ""
    free: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    owners: dict[str, str] = field(default_factory=dict)
    changes: Counter[str] = field(default_factory=Counter)

    def take(self, name: str) -> str:
        """Give a run what is to be its own."""
        thing = self.free.get_nowait()
        self.owners[thing] = name
        return thing

    def thing_of(self, name: str) -> str:
        """Return what a run was given."""
        return next(thing for thing, owner in self.owners.items() if owner == name)

    def by_owner(self) -> Counter[str]:
        """Return how often what each run was given was changed."""
        counts = self.changes + Counter({path.name: _changed(path) for path in self.folder.glob("reloaded/*")})
        return Counter({self.owners[thing]: count for thing, count in counts.items() if thing in self.owners})


def _changed(log: Path) -> int:
    """Return how often nginx was told to read something else than before."""
    return sum(1 for _ in itertools.groupby(log.read_text().splitlines()))


@dataclass(frozen=True, slots=True)
class Fronts:
    """Both; None for one that is not installed."""

    haproxy: Front | None
    nginx: Front | None

    def effects(self) -> Counter[str]:
        """Return how often each run changed something."""
        return sum((front.by_owner() for front in (self.haproxy, self.nginx) if front), Counter[str]())

    def policy(self) -> dict[str, Any]:
        """Return what policy.yaml says of them."""
        found: dict[str, Any] = {}
        if self.haproxy:
            found["haproxy"] = {"edge": self.haproxy.address}
        if self.nginx:
            found["nginx"] = {f"edge{number}": _edge(self.nginx.folder, number) for number in range(MOST)}
        return found


@contextlib.contextmanager
def fronts(folder: Path) -> Iterator[Fronts]:
    """Start both, as far as they are installed."""
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        yield Fronts(
            haproxy=stack.enter_context(_haproxy(folder / "haproxy", program)) if (program := _program("haproxy")) else None,
            nginx=stack.enter_context(_nginx(folder / "nginx", program)) if (program := _program("nginx")) else None,
        )


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


@contextlib.contextmanager
def _haproxy(folder: Path, program: str) -> Iterator[Front]:
    folder.mkdir()
    servers = "".join(f"  server {name} 127.0.0.1:1 weight 50\n" for name in NAMES)
    backends = "".join(f"backend b{number}\n{servers}" for number in range(MOST))
    (folder / "haproxy.cfg").write_text(
        f"global\n  stats socket {folder}/admin.sock level admin\n"
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 10s\n  timeout server 10s\n"
        f"frontend f\n  bind 127.0.0.1:{free_port()}\n  default_backend b0\n{backends}"
    )
    front = Front(folder)
    for number in range(MOST):
        front.free.put(f"b{number}")
    with subprocess.Popen(
        [program, "-db", "-f", str(folder / "haproxy.cfg")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        server = _Counting(("127.0.0.1", 0), _Pass)
        server.front = front
        front.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="haproxy's socket")
        thread.start()
        try:
            yield front
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
            running.kill()


class _Counting(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128
    front: Front

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed here."""


class _Pass(socketserver.StreamRequestHandler):
    """One line to haproxy's socket, and its answer."""

    def handle(self) -> None:
        front = cast("_Counting", self.server).front
        line = self.rfile.readline()
        if not line:
            return
        with socket.socket(socket.AF_UNIX) as inner:
            inner.connect(str(front.folder / "admin.sock"))
            inner.sendall(line)
            answer = b"".join(iter(lambda: inner.recv(65536), b""))
        if found := _SET.match(line):
            front.changes[found[1].decode()] += 1
        self.wfile.write(answer)


@contextlib.contextmanager
def _nginx(folder: Path, program: str) -> Iterator[Front]:
    """Each run has a file of upstreams of its own, all read by one nginx; telling it to read them again is counted by file."""
    (folder / "reloaded").mkdir(parents=True)
    front = Front(folder)
    for number in range(MOST):
        servers = "".join(f"    server 127.0.0.1:{port} weight=5;\n" for port in (1, 2))
        (folder / f"edge{number}.conf").write_text(f"upstream web-edge{number} {{\n{servers}}}\n")
        front.free.put(f"edge{number}")
    temporary = "".join(f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main = folder / "nginx.conf"
    main.write_text(
        f"pid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nworker_processes 1;\nevents {{}}\n"
        f"http {{\n  access_log off;\n{temporary}  include {folder}/edge*.conf;\n  server {{ listen 127.0.0.1:{free_port()}; }}\n}}\n"
    )
    base = [program, "-c", str(main), "-e", str(folder / "error.log")]
    reload = folder / "reload"
    here = shlex.quote(str(folder))
    noted = f'grep -v "^#" {here}/"$1".conf | cksum >> {here}/reloaded/"$1"'
    reload.write_text(f"#!/bin/sh\n{noted}\nexec {shlex.join([*base, '-s', 'reload'])}\n")
    reload.chmod(0o755)
    test = folder / "test"
    test.write_text(f"#!/bin/sh\nexec {shlex.join([*base, '-t'])}\n")
    test.chmod(0o755)
    user = "daemon off; user root;" if os.geteuid() == 0 else "daemon off;"
    with subprocess.Popen([*base, "-g", user], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            yield front
        finally:
            running.terminate()


def _edge(folder: Path, number: int) -> dict[str, Any]:
    name = f"edge{number}"
    return {"file": str(folder / f"{name}.conf"), "test": [str(folder / "test")], "reload": [str(folder / "reload"), name]}


def _take_backend(systems: Systems, name: str) -> str:
    return cast("Front", systems.fronts.haproxy).take(name)


def _haproxy_case(make: Callable[[Systems, str], str] = _take_backend, *, effects: int, **arguments: Any) -> Case:
    return Case(
        arguments=lambda _: {"proxy": "edge", "backend": THING, **arguments},
        effects=effects,
        counted="a proxy of haproxy's socket",
        lacks=lambda systems: "" if systems.fronts.haproxy else "haproxy is not installed",
        make=make,
        look=lambda systems, name: _servers(cast("Front", systems.fronts.haproxy), name),
    )


def _servers(front: Front, name: str) -> Any:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(front.folder / "admin.sock"))
        connection.sendall(f"show servers state {front.thing_of(name)}\n".encode())
        lines = b"".join(iter(lambda: connection.recv(65536), b"")).decode().splitlines()
    columns = lines[1].removeprefix("# ").split()
    rows = [dict(zip(columns, line.split(), strict=False)) for line in lines[2:] if line]
    return [f"{row['srv_name']} {row['srv_uweight']} {row['srv_admin_state']}" for row in rows]


def _file(systems: Systems, name: str) -> Any:
    front = cast("Front", systems.fronts.nginx)
    text = (front.folder / f"{front.thing_of(name)}.conf").read_text()
    return [line.strip() for line in text.splitlines() if line.strip().startswith("server")]


def _draining(systems: Systems, name: str) -> str:
    thing = _take_backend(systems, name)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(cast("Front", systems.fronts.haproxy).folder / "admin.sock"))
        connection.sendall(f"set server {thing}/blue state drain\n".encode())
        connection.recv(1000)
    return thing


CASES: Mapping[str, Case] = {
    "haproxy.drain": _haproxy_case(effects=2, server="blue"),
    "haproxy.ready": _haproxy_case(_draining, effects=2, server="blue"),
    "haproxy.weight": _haproxy_case(effects=2, weights={"blue": 5, "green": 95}),
    "nginx.upstream": Case(
        arguments=lambda _: {"proxy": THING, "upstream": "web-${{ params.thing }}", "weights": {"127.0.0.1:1": 1, "127.0.0.1:2": 9}},
        effects=2,
        counted="what nginx is told to read; reading the same again is none",
        lacks=lambda systems: "" if systems.fronts.nginx else "nginx is not installed",
        make=lambda systems, name: cast("Front", systems.fronts.nginx).take(name),
        look=_file,
    ),
}
