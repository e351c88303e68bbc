"""Every action of the catalogue, planned in dry mode through a recording proxy in front of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fixtures_cluster import BETTER, GOOD, TEST, Place, context_in
from stopgap.actions import registry
from stopgap.actions.catalogue import ACTIONS
from stopgap.actions.guard import DryRunViolation
from stopgap.policy.model import Policy

if TYPE_CHECKING:
    from fixtures_proxy import Proxy


ABSENT = {  # kinds that this place does not serve
    "sandbox": {"kubernetes.cordon", "kubernetes.uncordon", "kubernetes.drain", "kubernetes.job", "kubernetes.scale_statefulset"},
    "real": {"kubernetes.shift_route"},
}
HERE = {name for name in ACTIONS if name.split(".")[0] in {"http", "kubernetes", "manual", "note", "prometheus", "wait"}}


def arguments_of(place: Place, base: str) -> dict[str, dict[str, Any]]:
    here = {"cluster": TEST, "namespace": place.namespace}
    web = {**here, "deployment": "web"}
    pods = place.get("pods")["items"]
    node = {"cluster": TEST, "node": "node-a"}
    container = {"name": "c", "image": GOOD}
    template = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    every = {
        "http.get": {"url": f"{base}/version"},
        "http.request": {"method": "DELETE", "url": f"{base}/version"},
        "http.wait": {"url": f"{base}/version"},
        "kubernetes.cordon": node,
        "kubernetes.delete_pod": {**here, "pod": pods[0]["metadata"]["name"]},
        "kubernetes.drain": {**node, "force": True, "delete_local_data": True},
        "kubernetes.job": {**here, "job": "fix", "template": template},
        "kubernetes.patch_hpa": {**here, "hpa": "web", "maximum": 9},
        "kubernetes.pause_rollout": web,
        "kubernetes.restart": web,
        "kubernetes.resume_rollout": web,
        "kubernetes.rollback": web,
        "kubernetes.scale": {**web, "replicas": 3},
        "kubernetes.scale_statefulset": {**here, "statefulset": "db", "replicas": 2},
        "kubernetes.set_env": {**web, "env": {"A": "b"}},
        "kubernetes.set_image": {**web, "image": "shop/web:9"},
        "kubernetes.shift_route": {**here, "httproute": "web", "weights": {"blue": 1, "green": 1}},
        "kubernetes.switch_service": {**here, "service": "web", "selector": {"app": "web", "pod": None}},
        "kubernetes.uncordon": node,
        "kubernetes.wait": web,
        "manual": {"instructions": "Call the provider."},
        "note": {"text": "hello"},
        "prometheus.query": {"query": "up"},
        "prometheus.wait": {"query": "up", "above": 0},
        "wait": {"for": "1s"},
    }
    return {name: arguments for name, arguments in every.items() if name not in ABSENT[place.kind]}


@pytest.fixture
def shop(cluster: Place) -> Place:
    cluster.deploy(image=GOOD)
    cluster.release("web", BETTER)
    spec: dict[str, Any] = {"selector": {"app": "web", "pod": "any"}, "ports": [{"port": 80}]}
    cluster.create("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
    goal = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "elsewhere"}
    autoscaler = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}}
    cluster.create("horizontalpodautoscalers", {**autoscaler, "spec": {"scaleTargetRef": goal, "minReplicas": 1, "maxReplicas": 3}})
    if cluster.kind == "real":
        labels = {"app": "db"}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "db", "image": GOOD}]}}
        spec = {"replicas": 0, "serviceName": "db", "selector": {"matchLabels": labels}, "template": pod}
        cluster.create("statefulsets", {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec})
    else:
        backends = [{"name": "blue", "weight": 1}, {"name": "green", "weight": 0}]
        route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web"}}
        cluster.create("httproutes", {**route, "spec": {"rules": [{"backendRefs": backends}]}})
    return cluster


def test_planning_every_action_reads_or_asks_the_server_for_its_own_dry_run(shop: Place, proxy: Proxy) -> None:
    plurals = ("deployments", "services", "horizontalpodautoscalers")
    before = {plural: [it["spec"] for it in shop.get(plural)["items"]] for plural in plurals}
    base = proxy.url
    policy = Policy(clusters=proxy.policy.clusters, prometheus={"default": base})
    checked = {}
    for name, arguments in arguments_of(shop, base).items():
        action = registry.build(name, arguments)
        if name == "prometheus.query":
            continue  # the cluster is no Prometheus; its GET is seen in prometheus.wait
        checked[name] = action.plan(context_in(policy, mode="dry")).checked
    assert set(checked) | {"prometheus.query"} | ABSENT[shop.kind] == HERE
    changing = {name for name in checked if name.startswith("kubernetes.") and name != "kubernetes.wait"}
    assert {name for name, how in checked.items() if how == "server"} == changing
    assert [seen for seen in proxy.seen if seen.may_change] == []
    assert len([seen for seen in proxy.seen if seen.method not in {"GET", "HEAD"}]) == len(changing)
    assert any("/api/v1/query" in seen.path for seen in proxy.seen)
    assert {plural: [it["spec"] for it in shop.get(plural)["items"]] for plural in before} == before


def test_applying_in_dry_mode_is_refused_before_anything_leaves(shop: Place, proxy: Proxy) -> None:
    context, refused = context_in(proxy.policy, mode="dry"), set()
    for name, arguments in arguments_of(shop, "http://localhost").items():
        action = registry.build(name, arguments)
        if action.effect == "changes" and not action.confirms and not (change := action.plan(context)).is_empty:
            with pytest.raises(DryRunViolation, match=r"^A dry run tried (PATCH|POST|DELETE) http://.* Nothing was sent\.$"):
                action.apply(context, change)
            refused.add(name)
    assert len(refused) > 8
    assert [seen for seen in proxy.seen if seen.may_change] == []
