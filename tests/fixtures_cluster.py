"""The clusters that actions are tried on: each test gets a namespace of its own, and a policy in which the cluster is called "test".

Every such test runs on the sandbox and on a real control plane. The real one is taken from STOPGAP_TEST_KUBECONFIG: any disposable cluster whose Pods become ready.
"""

from __future__ import annotations

import os
import ssl
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest
import yaml

from stopgap.actions.contract import ConflictError, Context
from stopgap.clock import SystemClock
from stopgap.policy.model import Cluster, ClusterName, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stopgap.actions.contract import Action, Change, Outcome
    from stopgap.drills.world import World

TEST = ClusterName("test")
CLUSTER_WIDE = frozenset({"clusterrolebindings", "clusterroles", "nodes"})
GROUPS = {
    "clusterrolebindings": "apis/rbac.authorization.k8s.io/v1",
    "clusterroles": "apis/rbac.authorization.k8s.io/v1",
    "cronjobs": "apis/batch/v1beta1",  # the test control plane is older than batch/v1
    "daemonsets": "apis/apps/v1",
    "deployments": "apis/apps/v1",
    "horizontalpodautoscalers": "apis/autoscaling/v1",
    "httproutes": "apis/gateway.networking.k8s.io/v1",
    "jobs": "apis/batch/v1",
    "poddisruptionbudgets": "apis/policy/v1beta1",
    "replicasets": "apis/apps/v1",
    "rolebindings": "apis/rbac.authorization.k8s.io/v1",
    "roles": "apis/rbac.authorization.k8s.io/v1",
    "statefulsets": "apis/apps/v1",
    "virtualservices": "apis/networking.istio.io/v1beta1",
}
GOOD, BETTER, BROKEN = "shop/web:1", "shop/web:2", "shop/web-broken:3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A namespace of a cluster, with an administrator's own way in that shares no code with the actions."""

    kind: str
    kubeconfig: Path
    context: str
    namespace: str
    admin: httpx.Client

    @property
    def policy(self) -> Policy:
        return self.policy_of(self.kubeconfig)

    def policy_of(self, kubeconfig: Path) -> Policy:
        return Policy(clusters={TEST: Cluster(name=TEST, kubeconfig=kubeconfig, context=self.context)})

    def other_user(self, name: str) -> Policy:
        path = self.kubeconfig.with_name(f"{name}.kubeconfig")
        if not path.is_file():
            pytest.skip(f"this cluster has no {path.name} beside its kubeconfig")
        return self.policy_of(path)

    def url(self, plural: str, name: str = "") -> str:
        place = "" if plural in CLUSTER_WIDE else f"namespaces/{self.namespace}/"
        return f"/{GROUPS.get(plural, 'api/v1')}/{place}{plural}" + (f"/{name}" if name else "")

    def get(self, plural: str, name: str = "") -> Any:
        return self.admin.get(self.url(plural, name)).raise_for_status().json()

    def create(self, plural: str, body: dict[str, Any]) -> Any:
        ends = time.monotonic() + 20
        while True:
            made = self.admin.post(self.url(plural), json=body)
            if "No API token found" not in made.text or time.monotonic() > ends:  # of a fresh namespace's service account
                return made.raise_for_status().json()
            time.sleep(0.1)

    def patch(self, plural: str, name: str, body: dict[str, Any]) -> Any:
        kind = "merge-patch" if plural.removesuffix("/status") in {"httproutes", "virtualservices"} else "strategic-merge-patch"
        headers = {"content-type": f"application/{kind}+json"}
        return self.admin.patch(self.url(plural, name), json=body, headers=headers).raise_for_status().json()

    def deploy(self, name: str = "web", *, image: str = GOOD, replicas: int = 2, ready: bool = True, **template: str) -> Any:
        labels = {"app": name} | template
        container = {"name": "web", "image": image, "env": [{"name": "GREETING", "value": "hello"}]}
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}},
        }
        made = self.create("deployments", {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
        return self.until_ready(name) if ready else made

    def release(self, name: str, image: str, *, ready: bool = True) -> Any:
        made = self.patch("deployments", name, {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
        return self.until_ready(name) if ready else made

    def until_ready(self, name: str) -> Any:
        return self.until("deployments", name, _is_rolled_out)

    def until(self, plural: str, name: str, holds: Callable[[Any], bool], seconds: float = 60) -> Any:
        ends = time.monotonic() + seconds
        while not holds(found := self.get(plural, name)):
            assert time.monotonic() < ends, found
            time.sleep(0.05)
        return found


def _is_rolled_out(found: Any) -> bool:
    status, wanted = found.get("status", {}), found["spec"]["replicas"]
    counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
    return counts == {wanted} and bool(status.get("observedGeneration") == found["metadata"]["generation"])


@pytest.fixture(scope="session")
def real_kubeconfig() -> Path:
    named = os.environ.get("STOPGAP_TEST_KUBECONFIG")
    if not named:
        pytest.skip("STOPGAP_TEST_KUBECONFIG names no kubeconfig of a disposable cluster")
    return Path(named)


@pytest.fixture
def sandbox_kubeconfig(world: World) -> Path:
    return world.kubeconfig


@pytest.fixture(params=["sandbox", "real"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A fresh namespace, removed in the end."""
    path: Path = request.getfixturevalue(f"{request.param}_kubeconfig")
    with place_in(path, kind=request.param) as place:
        yield place


@contextmanager
def place_in(kubeconfig: Path, *, kind: str) -> Iterator[Place]:
    config = yaml.safe_load(kubeconfig.read_text())
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    verify: ssl.SSLContext | bool = True
    if "certificate-authority" in server:
        verify = ssl.create_default_context(cafile=server["certificate-authority"])
    headers = {"authorization": f"Bearer {user['token']}"} if "token" in user else {}
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    with httpx.Client(base_url=server["server"], verify=verify, headers=headers, trust_env=False, timeout=30) as admin:
        made = admin.post("/api/v1/namespaces", json={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        made.raise_for_status()
        place = Place(kind=kind, kubeconfig=kubeconfig, context=config["contexts"][0]["name"], namespace=namespace, admin=admin)
        if kind == "real":  # a Pod needs the namespace's service account
            ends = time.monotonic() + 30
            while admin.get(place.url("serviceaccounts", "default")).status_code != httpx.codes.OK:
                assert time.monotonic() < ends
                time.sleep(0.02)
        yield place
        admin.delete(f"/api/v1/namespaces/{namespace}").raise_for_status()


def context_in(policy: Policy, *, seconds: float = 30, mark: str = "INC-1.1/step/1", mode: Literal["live", "dry"] = "live") -> Context:
    clock = SystemClock()
    return Context(policy=policy, clock=clock, deadline=clock.now() + timedelta(seconds=seconds), mark=mark, mode=mode)


def carry_out(step: Action, context: Context) -> tuple[Change, Outcome]:
    """Plan and apply as the engine does: a conflict means plan again, at most five times."""
    for _ in range(5):
        change = step.plan(context)
        try:
            return change, step.apply(context, change)
        except ConflictError:
            continue
    pytest.fail("five conflicts in a row")
