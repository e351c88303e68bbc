"""What holds for every action, tried for those on Deployments and Services, on a real control plane."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures_cluster import BETTER, GOOD, TEST, Place
from stopgap.actions.contract import Action, Probe
from stopgap.actions.kubernetes.restart import Restart
from stopgap.actions.kubernetes.rollback import Rollback
from stopgap.actions.kubernetes.scale import Scale
from stopgap.actions.kubernetes.switch_service import SwitchService
from stopgap.testing.actions import ActionContract, Scene

pytestmark = pytest.mark.parametrize("cluster", ["real"], indirect=True)


def release(place: Place) -> Any:
    """What a Deployment runs, and how much of it, without what moves by itself."""
    spec = place.get("deployments", "web")["spec"]
    return spec["replicas"], spec["template"]["spec"], spec["template"]["metadata"].get("annotations")


def rolling(place: Place, action: Action, **others: Any) -> Scene:
    """A scene on the Deployment web; stalled, its Pods count as available only after a minute."""
    return Scene(
        action=action,
        policy=place.policy,
        look=lambda: release(place),
        stall=lambda: place.patch("deployments", "web", {"spec": {"minReadySeconds": 60}}),
        **others,
    )


class TestScale(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        cluster.deploy(replicas=1)
        step = Scale(cluster=TEST, namespace=cluster.namespace, deployment="web", replicas=2)
        return rolling(cluster, step, meddle=lambda: cluster.patch("deployments", "web", {"spec": {"replicas": 3}}))


class TestRestart(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        cluster.deploy(replicas=1)
        step = Restart(cluster=TEST, namespace=cluster.namespace, deployment="web")
        why = "the mark and the restart are one write: whoever changes the Deployment later does not take the restart back"
        return rolling(cluster, step, never={Probe.UNKNOWN: why})


class TestRollback(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        cluster.deploy(replicas=1, image=GOOD)
        cluster.release("web", BETTER)
        step = Rollback(cluster=TEST, namespace=cluster.namespace, deployment="web", revision=1)
        meddle = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "shop/web:4"}]}}}}
        return rolling(cluster, step, meddle=lambda: cluster.patch("deployments", "web", meddle))


class TestSwitchService(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        cluster.deploy(replicas=1, role="web")
        spec = {"selector": {"app": "web", "role": "web"}, "ports": [{"port": 80}]}
        cluster.create("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
        step = SwitchService(cluster=TEST, namespace=cluster.namespace, service="web", selector={"role": None})
        return Scene(
            action=step,
            policy=cluster.policy,
            look=lambda: cluster.get("services", "web")["spec"]["selector"],
            meddle=lambda: cluster.patch("services", "web", {"spec": {"selector": {"other": "x"}}}),
            never={Probe.IN_PROGRESS: "the selector is one write; that the endpoints follow is waited for, and not asked of the probe"},
        )
