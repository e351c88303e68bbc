"""What the demo begins with: a shop whose checkout got a bad release twelve minutes ago."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.drills.world import kinds
from stopgap.drills.world.shop import Release

if TYPE_CHECKING:
    from datetime import datetime

    from stopgap.drills.world.kinds import Json
    from stopgap.drills.world.server import Sandbox

NAMESPACE = "shop"
GOOD = "registry.example/checkout:2.4.0"
BAD = "registry.example/checkout:2.4.1"
TRAFFIC = 45.0  # 3 good Pods are 75% busy and answer after 0.16 s; 9 bad ones are at 125% and refuse every fifth request
RELEASES = {GOOD: Release(), BAD: Release(seconds=0.8, capacity=4.0, errors=0.02)}


def demo(sandbox: Sandbox, now: datetime) -> None:
    """Build the shop as its own history: revision 1 was good for two hours, revision 2 is bad. The cluster must still be empty."""
    cluster, store = sandbox.cluster, sandbox.cluster.store
    start = now - timedelta(hours=2)
    cluster.at = start
    store.create(kinds.NAMESPACES, {"metadata": {"name": NAMESPACE}, "spec": {}, "status": {"phase": "Active"}}, start)
    checkout = deployment(name="checkout", image=GOOD, replicas=3, labels={"app": "checkout", "track": "current"})
    _create(sandbox, kinds.DEPLOYMENTS, checkout)
    _create(
        sandbox,
        kinds.DEPLOYMENTS,
        deployment(name="checkout-stable", image=GOOD, replicas=3, labels={"app": "checkout", "track": "stable"}),
    )
    _create(sandbox, kinds.SERVICES, service(name="checkout", selector={"app": "checkout", "track": "current"}))
    cluster.advance(now - timedelta(minutes=12))
    _release(sandbox, BAD)
    cluster.advance(now)
    sandbox.shop.namespace, sandbox.shop.rps, sandbox.shop.releases = NAMESPACE, TRAFFIC, RELEASES
    sandbox.api.effects.clear()


def deployment(*, name: str, image: str, replicas: int, labels: dict[str, str]) -> Json:
    """Return a Deployment with one container, named `app`."""
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}},
        },
    }


def service(*, name: str, selector: dict[str, str]) -> Json:
    """Return a Service on port 80."""
    return {"metadata": {"name": name}, "spec": {"selector": selector, "ports": [{"port": 80}]}}


def _create(sandbox: Sandbox, kind: kinds.Kind, item: Json) -> None:
    _send(sandbox, "POST", kind, "", item)


def _release(sandbox: Sandbox, image: str) -> None:
    _send(
        sandbox, "PATCH", kinds.DEPLOYMENTS, "checkout", {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
    )


def _send(sandbox: Sandbox, method: str, kind: kinds.Kind, name: str, body: Json) -> None:
    from stopgap.drills.world import request

    call = request.Request(
        method=method,
        kind=kind,
        version="v1",
        namespace=NAMESPACE,
        name=name,
        subresource="",
        query={},
        content_type="application/strategic-merge-patch+json",
        body=body,
        user="admin",
    )
    sandbox.api.answer(call)
