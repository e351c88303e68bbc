"""A Prometheus and Alertmanagers, really running on loopback, and an exporter whose metric follows a Deployment of a real cluster."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import yaml

from fixtures_alerts import TOKEN
from fixtures_cluster import BETTER
from fixtures_traffic import free_port, needed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fixtures_cluster import Place

BAD = BETTER  # it becomes ready, and fails for the users
METRIC = "checkout_failed_share"
RULE = {
    "alert": "CheckoutFails",
    "expr": f"max_over_time({METRIC}[3s]) > 0.1",  # a scrape that a busy machine missed is no recovery
    "labels": {"severity": "critical"},
    "annotations": {"summary": "Checkouts fail in {{ $labels.namespace }}"},
}


class _Exporter(BaseHTTPRequestHandler):
    """The share of failed checkouts is the share of Pods that run the bad release."""

    place: ClassVar[Place]

    def do_GET(self) -> None:
        images = [pod["spec"]["containers"][0]["image"] for pod in self.place.get("pods")["items"]]
        share = images.count(BAD) / len(images) if images else 0.0
        body = f'# TYPE {METRIC} gauge\n{METRIC}{{namespace="{self.place.namespace}"}} {share}\n'.encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        pass


@contextmanager
def exporting(place: Place) -> Iterator[int]:
    """Serve the metric; yield the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Exporter", (_Exporter,), {"place": place}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@contextmanager
def prometheus(folder: Path, *, port: int, exporter: int, alertmanagers: Sequence[int]) -> Iterator[None]:
    """Scrape and evaluate often, and tell every Alertmanager."""
    rules, config = folder / "rules.yml", folder / "prometheus.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "checkout", "rules": [RULE]}]}))
    told = [{"static_configs": [{"targets": [f"127.0.0.1:{each}" for each in alertmanagers]}], "timeout": "2s"}]
    scraped = [{"job_name": "checkout", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]}]
    pace = {"scrape_interval": "400ms", "scrape_timeout": "400ms", "evaluation_interval": "200ms"}
    made = {"global": pace, "rule_files": [str(rules)], "scrape_configs": scraped, "alerting": {"alertmanagers": told}}
    config.write_text(yaml.safe_dump(made))
    words = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}", "--rules.alert.resend-delay=1s"]
    with _running("prometheus", *words, f"--web.listen-address=127.0.0.1:{port}", port=port, log=folder / "prometheus.log"):
        yield


@contextmanager
def alertmanagers(folder: Path, urls: Sequence[str]) -> Iterator[list[tuple[int, subprocess.Popen[bytes]]]]:
    """Start one Alertmanager for each address that is posted to, in one gossip cluster; yield their ports and processes.

    They tell each other of what they sent so late that each sends everything: the worst that a cluster may do.
    """
    gossip = [free_port() for _ in urls]
    peers = [f"--cluster.peer=127.0.0.1:{port}" for port in gossip] if len(urls) > 1 else []
    with ExitStack() as stack:
        made = []
        for number, url in enumerate(urls):
            port, own = free_port(), folder / f"alertmanager{number}"
            own.mkdir()
            (own / "config.yml").write_text(yaml.safe_dump(_posting_to(url)))
            listens = f"--cluster.listen-address=127.0.0.1:{gossip[number]}" if peers else "--cluster.listen-address="
            words = [f"--config.file={own / 'config.yml'}", f"--storage.path={own}", f"--web.listen-address=127.0.0.1:{port}"]
            pace = ["--cluster.gossip-interval=20s", "--cluster.peer-timeout=100ms", "--cluster.settle-timeout=1s"]
            words += [listens, *peers, *pace]
            made.append((port, stack.enter_context(_running("prometheus-alertmanager", *words, port=port, log=own / "log"))))
        yield made


def _posting_to(url: str) -> dict[str, Any]:
    route = {"receiver": "stopgap", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
    hook = {"url": url, "send_resolved": True, "http_config": {"authorization": {"type": "Bearer", "credentials": TOKEN}}}
    return {"route": route, "receivers": [{"name": "stopgap", "webhook_configs": [hook]}]}


@contextmanager
def _running(program: str, *words: str, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen([needed(program), *words], stdout=output, stderr=output)
    try:
        _until_ready(port, process, log)
        yield process
    finally:
        process.kill()
        process.wait()


def _until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + 30
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/-/ready", trust_env=False, timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < ends, log.read_text()
        time.sleep(0.05)
