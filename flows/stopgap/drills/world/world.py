"""`World`: the sandbox as a context manager; its state lives in the process that holds it."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from stopgap.clock import SystemClock
from stopgap.drills.world import access, cluster, faults, kinds, seed, server, shop
from stopgap.drills.world.pods import Pace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.clock import Clock

CONTEXT = "sandbox"  # the context's name in every kubeconfig it writes


class World:
    """A cluster and a shop on 127.0.0.1, from `with` to its end. Empty but for the namespace `default`, unless `seed_demo` is called.

    `home` is a folder for the kubeconfigs, a temporary one by default; `port` 0 means a free one. `pace` says how long rollouts take.
    """

    def __init__(self, home: Path | None = None, *, port: int = 0, pace: Pace | None = None, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._pace = pace or Pace()
        self._wanted = home
        self._port = port

    def __enter__(self) -> Self:
        """Start serving, and write the kubeconfigs."""
        self._temporary = None if self._wanted else tempfile.TemporaryDirectory(prefix="stopgap-world-")
        self.home = self._wanted or Path(self._temporary.name if self._temporary else "")
        now = self._clock.now()
        self._sandbox = server.Sandbox(cluster=cluster.Cluster(at=now, pace=self._pace), shop=shop.Shop(), clock=self._clock)
        namespace = {"metadata": {"name": "default"}, "spec": {}, "status": {"phase": "Active"}}
        self._sandbox.cluster.store.create(kinds.NAMESPACES, namespace, now)
        self._server = server.Server(self._sandbox, self._port)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="sandbox", daemon=True)
        self._thread.start()
        self._write_kubeconfigs()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving; nothing is left."""
        self._server.stop()
        self._thread.join()
        if self._temporary:
            self._temporary.cleanup()

    @property
    def url(self) -> str:
        """Where the Kubernetes API answers: `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def shop_url(self) -> str:
        """Where the shop's checkout answers."""
        return f"{self.url}/shop/checkout"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; its context is named `sandbox`."""
        return self.kubeconfig_for("admin")

    def kubeconfig_for(self, user: access.User) -> Path:
        """Return the kubeconfig of admin, responder, viewer or nobody."""
        return self.home / f"{user}.kubeconfig"

    def seed_demo(self) -> None:
        """Put the demo's shop into the cluster: checkout on a bad release, a stable Deployment beside it, and traffic."""
        with self._sandbox.lock:
            seed.demo(self._sandbox, self._clock.now())

    def traffic(self, rps: float) -> None:
        """Set how many requests a second the shop gets."""
        self._sandbox.shop.rps = rps

    def releases(self, releases: Mapping[str, shop.Release]) -> None:
        """Set how each image of the shop behaves; others behave like a good release."""
        self._sandbox.shop.releases = dict(releases)

    def reading(self, service: str = "checkout") -> shop.Reading | None:
        """Return how the shop does at the moment."""
        with self._sandbox.lock:
            self._sandbox.cluster.advance(self._clock.now())
            return self._sandbox.shop.read(self._sandbox.cluster.store, service)

    def fault(self, fault: faults.Fault, *, count: int = 1, seconds: float = 0.0) -> None:
        """Let the next mutating requests meet a fault; see `stopgap.drills.world.faults`."""
        self._sandbox.faults = faults.Faults(fault=fault, count=count, seconds=seconds)

    def effects(self) -> tuple[dict[str, Any], ...]:
        """Return every mutating request that was carried out, oldest first: user, verb, resource, namespace, name, changed, body."""
        return tuple(asdict(effect) for effect in self._sandbox.api.effects)

    def _write_kubeconfigs(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        for user in access.USERS:
            path = self.kubeconfig_for(user)
            path.touch(mode=0o600)
            path.write_text(_KUBECONFIG.format(url=self.url, user=user, token=access.token(user), context=CONTEXT))


_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: {context}, cluster: {{server: "{url}"}}}}]
users: [{{name: {user}, user: {{token: {token}}}}}]
contexts: [{{name: {context}, context: {{cluster: {context}, user: {user}, namespace: default}}}}]
current-context: {context}
"""
