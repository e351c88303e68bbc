"""What holds for every action, tried for those on Deployments, Services and autoscalers, on a real control plane."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures_cluster import BETTER, GOOD, TEST, Place, context_in
from stopgap.actions.contract import Action, PermanentError, Probe
from stopgap.actions.kubernetes.patch_hpa import PatchHpa
from stopgap.actions.kubernetes.pausing import PauseRollout, ResumeRollout
from stopgap.actions.kubernetes.restart import Restart
from stopgap.actions.kubernetes.rollback import Rollback
from stopgap.actions.kubernetes.scale import Scale
from stopgap.actions.kubernetes.scale_statefulset import ScaleStatefulSet
from stopgap.actions.kubernetes.set_env import SetEnv
from stopgap.actions.kubernetes.set_image import SetImage
from stopgap.actions.kubernetes.switch_service import SwitchService
from stopgap.testing.actions import ActionContract, Scene

pytestmark = pytest.mark.parametrize("cluster", ["real"], indirect=True)


def release(place: Place) -> Any:
    """What a Deployment runs, and how much of it, without what moves by itself."""
    spec = place.get("deployments", "web")["spec"]
    return spec["replicas"], spec.get("paused", False), spec["template"]["spec"], spec["template"]["metadata"].get("annotations")


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


class TestSetImage(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        cluster.deploy(replicas=1, image=GOOD)
        step = SetImage(cluster=TEST, namespace=cluster.namespace, deployment="web", image=BETTER)
        meddle = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "shop/web:4"}]}}}}
        return rolling(cluster, step, meddle=lambda: cluster.patch("deployments", "web", meddle))


class TestSetEnv(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        cluster.deploy(replicas=1)
        env = {"GREETING": None, "CACHE": "off"}
        step = SetEnv(cluster=TEST, namespace=cluster.namespace, deployment="web", env=env)
        meddle = {"spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "CACHE", "value": "on"}]}]}}}}
        return rolling(cluster, step, meddle=lambda: cluster.patch("deployments", "web", meddle))


class TestPauseRollout(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        cluster.deploy(replicas=1)
        step = PauseRollout(cluster=TEST, namespace=cluster.namespace, deployment="web")
        return Scene(
            action=step,
            policy=cluster.policy,
            look=lambda: release(cluster),
            meddle=lambda: cluster.patch("deployments", "web", {"spec": {"paused": False}}),
            never={Probe.IN_PROGRESS: "it is one write, and nothing follows from it"},
        )


class TestResumeRollout(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        cluster.deploy(replicas=1)
        cluster.patch("deployments", "web", {"spec": {"paused": True}})
        cluster.release("web", BETTER, ready=False)
        step = ResumeRollout(cluster=TEST, namespace=cluster.namespace, deployment="web")
        return rolling(cluster, step, meddle=lambda: cluster.patch("deployments", "web", {"spec": {"paused": True}}))


class TestScaleStatefulSet(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        labels = {"app": "db"}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "db", "image": "shop/db:1"}], "terminationGracePeriodSeconds": 0},
        }
        spec = {
            "replicas": 1,
            "serviceName": "db",
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels},
            "template": template,
        }
        cluster.create("statefulsets", {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec})
        cluster.until("statefulsets", "db", lambda it: it["status"].get("readyReplicas") == 1)
        slow = {"spec": {"template": {"spec": {"containers": [{"name": "db", "image": "shop/db-slow:1"}]}}}}
        return Scene(
            action=ScaleStatefulSet(cluster=TEST, namespace=cluster.namespace, statefulset="db", replicas=2),
            policy=cluster.policy,
            look=lambda: cluster.get("statefulsets", "db")["spec"]["replicas"],
            stall=lambda: cluster.patch("statefulsets", "db", slow),
            meddle=lambda: cluster.patch("statefulsets", "db", {"spec": {"replicas": 3}}),
        )


class TestPatchHpa(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        goal = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "elsewhere"}  # so that its controller leaves its status to the test
        spec = {"scaleTargetRef": goal, "minReplicas": 2, "maxReplicas": 10}
        body = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": spec}
        cluster.create("horizontalpodautoscalers", body)

        def wants(replicas: int) -> None:
            status = {"desiredReplicas": replicas, "currentReplicas": replicas}
            cluster.patch("horizontalpodautoscalers", "web/status", {"status": status})

        wants(4)
        return Scene(
            action=PatchHpa(cluster=TEST, namespace=cluster.namespace, hpa="web", minimum=4, maximum=20),
            policy=cluster.policy,
            look=lambda: {key: cluster.get("horizontalpodautoscalers", "web")["spec"][key] for key in ("minReplicas", "maxReplicas")},
            stall=lambda: wants(2),
            meddle=lambda: cluster.patch("horizontalpodautoscalers", "web", {"spec": {"minReplicas": 3}}),
        )


def test_values_of_the_environment_are_shown_as_hashes(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    step = SetEnv(cluster=TEST, namespace=cluster.namespace, deployment="web", env={"TOKEN": "s3cret-value", "GREETING": "hello"})
    change = step.plan(context_in(cluster.policy))
    assert change.summary == "web: set TOKEN in web"
    assert (change.now["env TOKEN"], change.now["env GREETING"]) == ("-", change.after["env GREETING"])
    assert "s3cret-value" not in str(change.to_json())
    assert "hello" not in str(change.to_json())


def test_a_container_that_is_not_named_or_not_there_is_asked_for(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    step = SetImage(cluster=TEST, namespace=cluster.namespace, deployment="web", image=BETTER, container="app")
    with pytest.raises(PermanentError, match=r'^web has no container "app"\. It has: web\.$'):
        step.plan(context_in(cluster.policy))


def test_a_minimum_above_the_maximum_is_refused(cluster: Place) -> None:
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 2, "maxReplicas": 5}
    body = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": spec}
    cluster.create("horizontalpodautoscalers", body)
    with pytest.raises(PermanentError, match=r"^web: its minimum would be 9, above its maximum of 5\.$"):
        PatchHpa(cluster=TEST, namespace=cluster.namespace, hpa="web", minimum=9).plan(context_in(cluster.policy))
