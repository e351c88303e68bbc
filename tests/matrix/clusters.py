"""The clusters of the kill matrix, each behind a proxy that counts what changed every run's object: the sandbox, and a real one if there is one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

from fixtures_cluster import place_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

    from fixtures_cluster import Place

_OURS = re.compile(r"(?:kubernetes|runbook)-[a-z-]+-\d+")


@dataclass(frozen=True, slots=True)
class Site:
    """A namespace of a cluster, and how often runs changed each object of it. Runs reach it through `kubeconfig`, the tests by `place`."""

    place: Place
    kubeconfig: Path
    changes: Counter[str] = field(default_factory=Counter)


@contextlib.contextmanager
def all_of_them(folder: Path, env: Mapping[str, str]) -> Iterator[dict[str, Site]]:
    """Give the sandbox, and the cluster that STOPGAP_TEST_KUBECONFIG names."""
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        kubeconfigs = {"sandbox": stack.enter_context(_sandbox(folder / "sandbox", env))}
        if named := os.environ.get("STOPGAP_TEST_KUBECONFIG"):
            kubeconfigs["real"] = Path(named)
        sites = {}
        for kind, kubeconfig in kubeconfigs.items():
            place = stack.enter_context(place_in(kubeconfig, kind=kind))
            sites[kind] = stack.enter_context(_counted(place, folder / f"{kind}.kubeconfig"))
        yield sites


@contextlib.contextmanager
def _sandbox(folder: Path, env: Mapping[str, str]) -> Iterator[Path]:
    """Start a sandbox in a process of its own; give the administrator's kubeconfig."""
    words = [sys.executable, "-m", "stopgap.drills.world", "--home", os.fspath(folder), "--empty"]
    with subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield Path(json.loads(process.stdout.readline())["kubeconfig"])
        finally:
            process.stdin.close()


@contextlib.contextmanager
def _counted(place: Place, kubeconfig: Path) -> Iterator[Site]:
    server = _Server(("127.0.0.1", 0), _Forward)
    server.site, server.admin = Site(place, kubeconfig), place.admin
    address = f"http://127.0.0.1:{server.server_address[1]}"
    kubeconfig.write_text(
        f"clusters: [{{name: matrix, cluster: {{server: '{address}'}}}}]\n"
        "users: [{name: matrix, user: {token: t}}]\n"
        "contexts: [{name: matrix, context: {cluster: matrix, user: matrix}}]\n"
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name=f"proxy of {place.kind}")
    thread.start()
    try:
        yield server.site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    site: Site
    admin: httpx.Client

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed here."""


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server = cast("_Server", self.server)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {"content-type": self.headers.get("content-type", "application/json")}
        answer = server.admin.request(self.command, self.path, content=body, headers=headers)
        if answer.is_success and _changes(self.command, self.path, body):
            found = _OURS.search(self.path) or _OURS.search(body.decode())
            server.site.changes[found[0] if found else "?"] += 1
        self.send_response(answer.status_code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET  # noqa: N815  http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        pass


def _changes(method: str, path: str, body: bytes) -> bool:
    parts = urlsplit(path)
    is_dry = "dryRun" in parse_qs(parts.query) or b'"dryRun"' in body
    return method not in {"GET", "HEAD"} and not is_dry and "accessreviews" not in parts.path
