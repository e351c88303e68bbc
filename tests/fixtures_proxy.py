"""A proxy in front of a cluster: it records every request, and can lose answers or be away."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from fixtures_cluster import Place
    from stopgap.policy.model import Policy


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str

    @property
    def may_change(self) -> bool:
        return self.method not in {"GET", "HEAD"} and "dryRun=All" not in self.path


@dataclass(slots=True, kw_only=True)
class Proxy:
    """`mode`: forward; away closes every connection unheard; lose carries a change out and closes without an answer."""

    place: Place
    kubeconfig: Path
    mode: Literal["forward", "away", "lose"] = "forward"
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    hold: threading.Event | None = None  # answers wait for it
    away_after_change: int = 0  # after the next change so many requests are closed unheard

    def is_away(self, seen: Seen) -> bool:
        if self.mode == "forward" and self.away_after_change and any(it.may_change for it in self.seen[:-1]):
            self.away_after_change -= 1
            return True
        return self.mode == "away" or (self.mode == "lose" and not seen.may_change)

    @property
    def policy(self) -> Policy:
        return self.place.policy_of(self.kubeconfig)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy
    admin: httpx.Client


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = cast("_Server", self.server)
        seen = Seen(self.command, self.path)
        server.proxy.seen.append(seen)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.close_connection = server.proxy.mode != "forward"
        if server.proxy.is_away(seen):
            self.close_connection = True
            return
        headers = {"content-type": self.headers.get("content-type", "application/json")}
        if server.proxy.hold is not None:
            server.proxy.hold.wait(10)
            self.close_connection = True
            return
        answer = server.admin.request(self.command, self.path, content=body, headers=headers)
        if server.proxy.mode == "lose":
            return
        self.send_response(answer.status_code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET  # noqa: N815  http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        pass


@pytest.fixture
def proxy(cluster: Place, tmp_path: Path) -> Iterator[Proxy]:
    server = _Server(("127.0.0.1", 0), _Forward)
    server.admin = cluster.admin
    path = tmp_path / "proxied.kubeconfig"
    name = cluster.context
    path.write_text(
        f"clusters: [{{name: {name}, cluster: {{server: 'http://127.0.0.1:{server.server_address[1]}'}}}}]\n"
        f"users: [{{name: {name}, user: {{token: t}}}}]\n"
        f"contexts: [{{name: {name}, context: {{cluster: {name}, user: {name}}}}}]\n"
    )
    server.proxy = Proxy(place=cluster, kubeconfig=path, url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.proxy
    server.shutdown()
    server.server_close()
    thread.join()
