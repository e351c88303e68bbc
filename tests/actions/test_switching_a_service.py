"""`kubernetes.switch_service` against a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures_cluster import TEST, Place, carry_out, context_in
from stopgap.actions.contract import PermanentError, Probe
from stopgap.actions.kubernetes.switch_service import SwitchService


def blue_and_green(place: Place) -> None:
    for colour in ("blue", "green"):
        place.deploy(colour, replicas=1, tier=colour, role="web", app="shop")
    service = {"selector": {"app": "shop", "tier": "blue"}, "ports": [{"port": 80}]}
    place.create("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": service})


def switch(place: Place, **selector: str | None) -> SwitchService:
    return SwitchService(cluster=TEST, namespace=place.namespace, service="shop", selector=selector)


def selector_of(place: Place) -> Any:
    return place.get("services", "shop")["spec"]["selector"]


def test_traffic_goes_to_the_pods_of_the_new_selector_and_other_labels_stay(cluster: Place) -> None:
    blue_and_green(cluster)
    context, step = context_in(cluster.policy), switch(cluster, tier="green")
    change, outcome = carry_out(step, context)
    assert change.summary == "shop: traffic from app=shop,tier=blue to app=shop,tier=green (1 ready Pods)"
    assert dict(change.now) == {"selector app": "shop", "selector tier": "blue"}
    assert dict(change.after) == {"selector app": "shop", "selector tier": "green"}
    assert (selector_of(cluster), outcome.data["ready"]) == ({"app": "shop", "tier": "green"}, 1)
    assert step.probe(context, change) is Probe.DONE


def test_the_undo_is_the_selector_that_was_and_takes_added_labels_away(cluster: Place) -> None:
    blue_and_green(cluster)
    step = switch(cluster, tier=None, role="web")
    change, _ = carry_out(step, context_in(cluster.policy))
    assert selector_of(cluster) == {"app": "shop", "role": "web"}
    undo = step.undo(change)
    assert undo is not None
    carry_out(undo, context_in(cluster.policy, mark="INC-1.1/undo/1"))
    assert selector_of(cluster) == {"app": "shop", "tier": "blue"}


def test_a_selector_without_ready_pods_is_refused(cluster: Place) -> None:
    blue_and_green(cluster)
    with pytest.raises(PermanentError, match=r"^shop: no ready Pod has the labels app=shop,tier=grey \(0 have them and are not ready\)"):
        switch(cluster, tier="grey").plan(context_in(cluster.policy))


def test_a_service_that_somebody_switched_since_is_no_longer_ours(cluster: Place) -> None:
    blue_and_green(cluster)
    step = switch(cluster, tier="green")
    change, _ = carry_out(step, context_in(cluster.policy))
    cluster.patch("services", "shop", {"spec": {"selector": {"tier": "blue"}}})
    assert step.probe(context_in(cluster.policy), change) is Probe.UNKNOWN
    assert step.probe(context_in(cluster.policy, mark="INC-1.1/step/2"), change) is Probe.NOT_DONE
