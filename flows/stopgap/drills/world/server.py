"""The sandbox's HTTP server: the Kubernetes API under /api and /apis, the shop under /shop, its own controls under /world."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from stopgap.drills.world import access, faults, kinds, refusals, request
from stopgap.drills.world.api import Api

if TYPE_CHECKING:
    from stopgap.clock import Clock
    from stopgap.drills.world.cluster import Cluster
    from stopgap.drills.world.shop import Shop

_LARGEST = 3 * 1024 * 1024  # as the real API server
_READS = ("GET", "HEAD")
_HEALTH = ("/healthz", "/livez", "/readyz", "/world/health")


class ConnectionLost(Exception):  # noqa: N818  an outcome that was asked for, not an error
    """The connection ends without an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a status code, a JSON value or text, and how long to wait before sending it."""

    code: int
    body: Any
    seconds: float = 0.0


class Sandbox:
    """Cluster, shop and faults behind one lock; `answer` is the whole server without its sockets."""

    def __init__(self, *, cluster: Cluster, shop: Shop, clock: Clock) -> None:
        self.cluster, self.shop, self.clock = cluster, shop, clock
        self.api = Api(cluster)
        self.faults = faults.Faults()
        self.lock = threading.Lock()

    def answer(self, *, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """Answer one request; ConnectionLost when a fault says so."""
        with self.lock:
            self.cluster.advance(self.clock.now())
            try:
                return self._route(method, target, headers, body)
            except refusals.Refusal as refusal:
                return Answer(refusal.code, refusal.to_json())

    def _route(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        path = urlsplit(target).path
        if path in _HEALTH:
            return Answer(200, "ok")
        if path == "/version":
            return Answer(200, {"major": "1", "minor": "20", "gitVersion": "v1.20.0-stopgap-sandbox"})
        if path.startswith("/shop/"):
            return self._shop(path.removeprefix("/shop/"))
        if path.startswith("/world/"):
            return self._control(method, path.removeprefix("/world/"), _parse(body))
        if path.startswith(("/api/", "/apis/")):
            return self._kubernetes(method, target, headers, body)
        return Answer(404, "404 page not found\n")

    def _kubernetes(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        user = access.user_of(headers.get("authorization"))
        if user is None:
            raise refusals.unauthorized()
        if target.strip("/") == "apis/autoscaling":
            versions = [{"groupVersion": f"autoscaling/{version}", "version": version} for version in kinds.AUTOSCALERS.versions]
            return Answer(200, {"kind": "APIGroup", "apiVersion": "v1", "name": "autoscaling", "versions": versions})
        content_type = headers.get("content-type", "")
        call = request.read(method, target, content_type=content_type, body=_parse(body), user=user)
        fault = None if method in _READS or call.is_dry or call.kind is kinds.ACCESS_REVIEWS else self.faults.next()
        if fault == "lost_before":
            raise ConnectionLost
        if fault == "refused":
            raise refusals.Refusal(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        code, answer = self.api.answer(call)
        if fault == "lost_after":
            raise ConnectionLost
        return Answer(code, answer, self.faults.seconds if fault == "late" else 0.0)

    def _shop(self, service: str) -> Answer:
        reading = self.shop.read(self.cluster.store, service)
        if reading is None:
            return Answer(404, {"error": f"there is no service {service} in the namespace {self.shop.namespace}"})
        failed = self.shop.fails(reading.errors)
        told = {"service": service, "release": reading.release, "ready": reading.ready, "load": round(reading.load, 3)}
        return Answer(503 if failed else 200, {**told, "status": "unavailable" if failed else "ok"}, reading.latency)

    def _control(self, method: str, name: str, body: Any) -> Answer:
        if (method, name) == ("GET", "effects"):
            effects = [asdict(effect) for effect in self.api.effects]
            return Answer(200, {"count": len(effects), "effects": effects})
        if (method, name) == ("GET", "shop"):
            reading = self.shop.read(self.cluster.store, "checkout")
            return Answer(200, {"rps": self.shop.rps, **(asdict(reading) if reading else {})})
        if (method, name) == ("POST", "traffic"):
            return self._set_traffic(body)
        if (method, name) == ("POST", "faults"):
            return self._set_faults(body)
        return Answer(404, {"error": "known are GET effects, GET shop, POST traffic, POST faults"})

    def _set_traffic(self, body: Any) -> Answer:
        rps = body.get("rps") if isinstance(body, dict) else None
        if isinstance(rps, bool) or not isinstance(rps, int | float) or rps < 0:
            return Answer(400, {"error": 'write {"rps": 45}: requests a second, 0 or more'})
        self.shop.rps = float(rps)
        return Answer(200, {"rps": self.shop.rps})

    def _set_faults(self, body: Any) -> Answer:
        try:
            wanted = faults.Faults(**body)
        except TypeError:
            wanted = faults.Faults(fault=None, count=-1)
        if wanted.count < 0 or wanted.fault not in (None, *faults.FAULTS):
            return Answer(400, {"error": f'write {{"fault": F, "count": 1}}; F is one of {", ".join(faults.FAULTS)}'})
        self.faults = wanted
        return Answer(200, asdict(wanted))


def _parse(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        raise refusals.bad_request("the object provided is unrecognized: the body is not JSON") from None


class Server(ThreadingHTTPServer):
    """One thread per connection, on a free loopback port; `stop` ends the connections that are still open."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, sandbox: Sandbox, port: int = 0) -> None:
        self.sandbox = sandbox
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection while it is open."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ends."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up: that is what crash tests do. Anything else is shown."""
        import sys

        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Stop serving, and hang up on whoever is still there."""
        self.shutdown()
        self.server_close()
        for connection in tuple(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it ended by itself


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_version = "stopgap-sandbox"

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST:
            self.close_connection = True
            self._send(Answer(413, {"error": "the body is larger than 3 MiB"}))
            return
        headers = {key.lower(): value for key, value in self.headers.items()}
        sandbox = cast("Server", self.server).sandbox
        try:
            answer = sandbox.answer(method=self.command, target=self.path, headers=headers, body=self.rfile.read(length))
        except ConnectionLost:
            self.close_connection = True
            return
        time.sleep(answer.seconds)
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        is_text = isinstance(answer.body, str)
        content = answer.body.encode() if is_text else json.dumps(answer.body).encode()
        self.send_response(answer.code)
        self.send_header("Content-Type", "text/plain" if is_text else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  the names http.server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's signature
        """Write no access log: `GET /world/effects` tells what happened."""
