"""The real systems of the kill matrix: what actions change, and where their effects are counted."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

import yaml

from matrix import around, aws, clusters, traffic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fixtures_aws import Cloud
    from fixtures_office import Office
    from matrix.clusters import Site


POSTING = (sys.executable, "-I", "-c", "import sys, urllib.request as web; web.urlopen(web.Request(sys.argv[1], method='POST'))")


@dataclass(slots=True)
class Web:
    """A server that answers and records: `/ok/...` 200, `/api/v1/query` the value 1; POST, PUT, PATCH, DELETE are effects of the last part of the path."""

    url: str
    changes: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Systems:
    """All of them; `sites` are clusters."""

    web: Web
    cloud: Cloud
    fronts: traffic.Fronts
    office: Office
    folder: Path
    sites: Mapping[str, Site]

    def effects(self) -> Counter[str]:
        """Return how often each object was changed by a run."""
        found = self.web.changes + aws.effects(self.cloud) + self.fronts.effects() + self.office.effects
        for site in self.sites.values():
            found += site.changes
        return found

    def policy(self) -> dict[str, Any]:
        """Return what policy.yaml says of them."""
        return {
            "clusters": {kind: {"kubeconfig": str(site.kubeconfig), "context": "matrix"} for kind, site in self.sites.items()},
            "prometheus": {"default": self.web.url},
            "commands": [[*POSTING, "http://127.0.0.1:*"]],
            **aws.policy(self.cloud),
            **self.fronts.policy(),
            **around.policy(self.office, self.folder / "office"),
        }


@contextlib.contextmanager
def all_of_them(folder: Path, env: Mapping[str, str]) -> Iterator[Systems]:
    """Start everything; it ends with this."""
    folder.mkdir()
    with (
        web() as found,
        aws.moto(folder / "aws", env) as cloud,
        traffic.fronts(folder / "traffic") as fronts,
        around.office(folder / "office") as office,
        clusters.all_of_them(folder / "clusters", env) as sites,
    ):
        yield Systems(web=found, cloud=cloud, fronts=fronts, office=office, folder=folder, sites=sites)


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
