"""What holds for every action, tried for those on routes, in the sandbox: the test control plane crashes on any custom resource."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures_cluster import TEST, Place, context_in
from stopgap.actions.arguments import ArgumentsError
from stopgap.actions.contract import PermanentError, Probe
from stopgap.actions.kubernetes.shift_route import ShiftRoute
from stopgap.actions.registry import build
from stopgap.testing.actions import ActionContract, Scene

pytestmark = pytest.mark.parametrize("cluster", ["sandbox"], indirect=True)


def http_route(place: Place, **weights: int) -> None:
    refs = [{"name": name, "port": 80, "weight": weight} for name, weight in weights.items()]
    spec = {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": refs}, {"backendRefs": [{"name": "static", "port": 80}]}]}
    body = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "shop"}, "spec": spec}
    place.create("httproutes", body)


def virtual_service(place: Place, **weights: int) -> None:
    route = [{"destination": {"host": "shop", "subset": name}, "weight": weight} for name, weight in weights.items()]
    body = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": "shop"},
        "spec": {"hosts": ["shop"], "http": [{"route": route}]},
    }
    place.create("virtualservices", body)


def seen_by_gateway(place: Place, *, status: str = "True", generation: int = 0) -> None:
    """The gateway reports what it has seen of the route."""
    seen = generation or place.get("httproutes", "shop")["metadata"]["generation"]
    condition = {"type": "Accepted", "status": status, "observedGeneration": seen, "message": "no such port"}
    parents = [{"parentRef": {"name": "edge"}, "conditions": [condition]}]
    place.patch("httproutes", "shop/status", {"status": {"parents": parents}})


def weights_of(place: Place) -> Any:
    return [ref.get("weight") for rule in place.get("httproutes", "shop")["spec"]["rules"] for ref in rule["backendRefs"]]


def shift(place: Place, **arguments: Any) -> ShiftRoute:
    return ShiftRoute(cluster=TEST, namespace=place.namespace, **arguments)


class TestShiftHttpRoute(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        http_route(cluster, blue=90, green=10)
        rules = [{"backendRefs": [{"name": "blue", "weight": 1}, {"name": "green", "weight": 2}]}]
        return Scene(
            action=shift(cluster, httproute="shop", weights={"blue": 50, "green": 50}),
            policy=cluster.policy,
            look=lambda: weights_of(cluster),
            stall=lambda: seen_by_gateway(cluster),  # and it never sees the next version
            meddle=lambda: cluster.patch("httproutes", "shop", {"spec": {"rules": rules}}),
        )


class TestShiftVirtualService(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        virtual_service(cluster, v1=100, v2=0)
        route = [{"destination": {"host": "shop", "subset": name}, "weight": 50} for name in ("v1", "v2")]
        return Scene(
            action=shift(cluster, virtualservice="shop", weights={"shop/v1": 75, "shop/v2": 25}),
            policy=cluster.policy,
            look=lambda: cluster.get("virtualservices", "shop")["spec"],
            meddle=lambda: cluster.patch("virtualservices", "shop", {"spec": {"http": [{"route": route}]}}),
            never={Probe.IN_PROGRESS: "Istio reports nothing on a VirtualService by default"},
        )


def test_a_plan_says_how_much_of_the_traffic_moves(cluster: Place) -> None:
    http_route(cluster, blue=90, green=10)
    change = shift(cluster, httproute="shop", weights={"blue": 1, "green": 3}).plan(context_in(cluster.policy))
    assert change.summary == "shop: traffic from blue 90 %, green 10 % to blue 25 %, green 75 %"
    assert (dict(change.measures), change.checked) == ({"shift": 65.0}, "server")
    assert change.notes == ("no gateway reports on it, so nothing tells when the traffic has moved",)


def test_a_gateway_that_refuses_the_new_weights_fails_the_step(cluster: Place) -> None:
    http_route(cluster, blue=90, green=10)
    seen_by_gateway(cluster, status="False", generation=99)
    step, context = shift(cluster, httproute="shop", weights={"blue": 50, "green": 50}), context_in(cluster.policy)
    with pytest.raises(PermanentError, match=r"^shop: the gateway edge says Accepted=False: no such port\.$"):
        step.apply(context, step.plan(context))


def test_backends_that_no_rule_has_are_answered_with_those_there_are(cluster: Place) -> None:
    http_route(cluster, blue=90, green=10)
    with pytest.raises(
        PermanentError, match=r"^shop has not a rule with just the backends blue: rule 1 has blue, green; rule 2 has static\.$"
    ):
        shift(cluster, httproute="shop", weights={"blue": 1}).plan(context_in(cluster.policy))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"weights": {"a": 1}}, 'give either "httproute" or "virtualservice"'),
        ({"httproute": "a", "virtualservice": "b", "weights": {"a": 1}}, 'give either "httproute" or "virtualservice"'),
        ({"httproute": "a", "weights": {"a": 0, "b": 0}}, "every weight is 0: traffic would go nowhere"),
    ],
)
def test_a_shift_that_leaves_open_what_is_meant_is_refused(cluster: Place, given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ArgumentsError, match=fault):
        build("kubernetes.shift_route", {"cluster": "test", "namespace": cluster.namespace, **given})
