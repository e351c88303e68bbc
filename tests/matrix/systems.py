"""The real systems of the kill matrix: what actions change, and where their effects are counted."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from fixtures_cluster import place_in
from matrix import aws

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fixtures_aws import Cloud
    from fixtures_cluster import Place


@dataclass(slots=True)
class Web:
    """A server that answers and records: `/ok/...` 200, `/api/v1/query` the value 1; POST, PUT, PATCH, DELETE are effects of the last part of the path."""

    url: str
    changes: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Systems:
    """All of them. `place` is a namespace of a cluster, `kind` says which: the sandbox or a real control plane."""

    web: Web
    cloud: Cloud
    place: Place
    kubeconfig: Path  # the one that runs use: not the administrator's, so that their effects are told from the tests'

    def effects(self) -> Counter[str]:
        """Return how often each object was changed by a run."""
        return self.web.changes + aws.effects(self.cloud) + _of_sandbox(self.place)

    def where(self, action: str) -> str:
        """Return which cluster an action was tried on; empty when it needs none."""
        return self.place.kind if action.startswith("kubernetes.") else ""

    def policy(self) -> dict[str, Any]:
        """Return what policy.yaml says of them."""
        return {
            "clusters": {"cluster": {"kubeconfig": str(self.kubeconfig), "context": self.place.context}},
            "prometheus": {"default": self.web.url},
            **aws.policy(self.cloud),
        }


def _of_sandbox(place: Place) -> Counter[str]:
    found = place.admin.get("/world/effects").raise_for_status().json()["effects"]
    return Counter(each["name"] for each in found if each["namespace"] == place.namespace and each["user"] == "responder")


@contextlib.contextmanager
def all_of_them(folder: Path, env: Mapping[str, str]) -> Iterator[Systems]:
    """Start everything; it ends with this."""
    folder.mkdir()
    with (
        web() as found,
        aws.moto(folder / "aws", env) as cloud,
        sandbox(folder / "sandbox", env) as kubeconfig,
        place_in(kubeconfig, kind="sandbox") as place,
    ):
        yield Systems(web=found, cloud=cloud, place=place, kubeconfig=kubeconfig.with_name("responder.kubeconfig"))


@contextlib.contextmanager
def sandbox(folder: Path, env: Mapping[str, str]) -> Iterator[Path]:
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
def web() -> Iterator[Web]:
    """Serve the recording web server."""
    server = _Server(("127.0.0.1", 0), _Record)
    server.web = Web(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="web")
    thread.start()
    try:
        yield server.web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    web: Web

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed here."""


class _Record(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        web = cast("_Server", self.server).web
        self.rfile.read(int(self.headers.get("content-length", 0)))
        path, _, _ = self.path.partition("?")
        if self.command in {"GET", "HEAD"}:
            web.asked[path.rpartition("/")[2]] += 1
        else:
            web.changes[path.rpartition("/")[2]] += 1
        body = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET  # noqa: N815  http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        pass


def write_policy(path: Path, systems: Systems, more: Mapping[str, Any]) -> None:
    """Write the policy that all runs of the matrix go by."""
    data = {
        "apiVersion": "stopgap/v1",
        "kind": "Policy",
        "people": {"ada": {"name": "Ada Amari"}, "dana": {"name": "Dana Diaz"}},
        "teams": {"oncall": ["ada", "dana"]},
        "roles": {"incident-commander": {"holders": ["ada"]}},
        "approvals": {"require_code": False},
        **systems.policy(),
        **more,
    }
    path.write_text(yaml.safe_dump(data))
