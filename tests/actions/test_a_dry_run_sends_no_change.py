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


def arguments_of(place: Place, base: str) -> dict[str, dict[str, Any]]:
    here = {"cluster": TEST, "namespace": place.namespace}
    return {
        "http.wait": {"url": f"{base}/version"},
        "kubernetes.restart": {**here, "deployment": "web"},
        "kubernetes.rollback": {**here, "deployment": "web"},
        "kubernetes.scale": {**here, "deployment": "web", "replicas": 3},
        "kubernetes.switch_service": {**here, "service": "web", "selector": {"app": "web", "pod": None}},
        "kubernetes.wait": {**here, "deployment": "web"},
        "manual": {"instructions": "Call the provider."},
        "note": {"text": "hello"},
        "prometheus.query": {"query": "up"},
        "prometheus.wait": {"query": "up", "above": 0},
        "wait": {"for": "1s"},
    }


@pytest.fixture
def shop(cluster: Place) -> Place:
    cluster.deploy(image=GOOD)
    cluster.release("web", BETTER)
    spec = {"selector": {"app": "web", "pod": "any"}, "ports": [{"port": 80}]}
    cluster.create("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
    return cluster


def test_every_action_of_the_catalogue_has_its_place_in_this_test(shop: Place, proxy: Proxy) -> None:
    elsewhere = {name for name in ACTIONS if name.startswith("aws.")}  # tests/aws tries them on a server of their own
    assert set(arguments_of(shop, "http://localhost")) == set(ACTIONS) - elsewhere
    assert proxy.seen == []


def test_planning_every_action_reads_or_asks_the_server_for_its_own_dry_run(shop: Place, proxy: Proxy) -> None:
    before = {plural: [it["spec"] for it in shop.get(plural)["items"]] for plural in ("deployments", "services")}
    base = proxy.url
    policy = Policy(clusters=proxy.policy.clusters, prometheus={"default": base})
    checked = {}
    for name, arguments in arguments_of(shop, base).items():
        action = registry.build(name, arguments)
        if name == "prometheus.query":
            continue  # the cluster is no Prometheus; its GET is seen in prometheus.wait
        checked[name] = action.plan(context_in(policy, mode="dry")).checked
    changing = [seen for seen in proxy.seen if seen.method not in {"GET", "HEAD"}]
    assert len(changing) == 4
    assert [seen for seen in changing if seen.may_change] == []
    assert any("/api/v1/query" in seen.path for seen in proxy.seen)
    assert {name for name, how in checked.items() if how == "server"} == {
        name for name in checked if name.split(".")[-1] in {"restart", "rollback", "scale", "switch_service"}
    }
    assert {plural: [it["spec"] for it in shop.get(plural)["items"]] for plural in before} == before


@pytest.mark.parametrize("name", ["kubernetes.restart", "kubernetes.rollback", "kubernetes.scale", "kubernetes.switch_service"])
def test_applying_in_dry_mode_is_refused_before_anything_leaves(shop: Place, proxy: Proxy, name: str) -> None:
    action = registry.build(name, arguments_of(shop, "http://localhost")[name])
    context = context_in(proxy.policy, mode="dry")
    change = action.plan(context)
    with pytest.raises(DryRunViolation, match=r"^A dry run tried PATCH http://.* Nothing was sent\.$"):
        action.apply(context, change)
    assert [seen for seen in proxy.seen if seen.may_change] == []
