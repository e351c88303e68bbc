"""`kubernetes.scale` against a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures_cluster import TEST, Place, carry_out, context_in
from stopgap.actions.contract import ConflictError, InDoubtError, PermanentError, Probe
from stopgap.actions.kubernetes.scale import Scale


def scale(place: Place, replicas: int) -> Scale:
    return Scale(cluster=TEST, namespace=place.namespace, deployment="web", replicas=replicas)


def hpa(name: str = "web", *, least: int = 2, most: int = 10) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": most, "targetCPUUtilizationPercentage": 80}
    return {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name}, "spec": spec}


def test_a_plan_says_now_and_after_and_was_checked_by_the_server(cluster: Place) -> None:
    cluster.deploy(replicas=2)
    change = scale(cluster, 5).plan(context_in(cluster.policy))
    assert (dict(change.now), dict(change.after)) == ({"replicas": 2}, {"replicas": 5})
    assert (change.summary, change.checked, change.notes) == ("web: 2 -> 5 replicas", "server", ())
    assert cluster.get("deployments", "web")["spec"]["replicas"] == 2


def test_scaling_ends_when_every_replica_is_ready(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    context, step = context_in(cluster.policy), scale(cluster, 3)
    change = step.plan(context)
    outcome = step.apply(context, change)
    assert cluster.get("deployments", "web")["status"]["readyReplicas"] == 3
    assert (outcome.changed, outcome.summary, dict(outcome.data)) == (True, "web: 1 -> 3 replicas; 3 ready", {"replicas": 3, "before": 1})
    assert step.probe(context, change) is Probe.DONE


def test_the_undo_scales_back_to_what_was(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    change, _ = carry_out(scale(cluster, 3), context_in(cluster.policy))
    undo = scale(cluster, 3).undo(change)
    assert isinstance(undo, Scale)
    carry_out(undo, context_in(cluster.policy))
    assert cluster.get("deployments", "web")["spec"]["replicas"] == 1


def test_scaling_to_what_is_there_changes_nothing_and_has_no_undo(cluster: Place) -> None:
    before = cluster.deploy(replicas=2)["metadata"]["generation"]
    change, _ = carry_out(scale(cluster, 2), context_in(cluster.policy))
    found = cluster.get("deployments", "web")["metadata"]
    assert change.is_empty
    assert scale(cluster, 2).undo(change) is None
    assert (found["generation"], "stopgap.dev/mark" in found["annotations"]) == (before, False)


def test_the_probe_tells_our_effect_from_others(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    change, _ = carry_out(scale(cluster, 2), context_in(cluster.policy))
    step = scale(cluster, 2)
    assert step.probe(context_in(cluster.policy, mark="INC-1.1/step/2"), change) is Probe.NOT_DONE
    cluster.patch("deployments", "web", {"spec": {"replicas": 4}})
    assert step.probe(context_in(cluster.policy), change) is Probe.UNKNOWN


def test_an_object_that_changed_since_the_plan_is_a_conflict_and_stays(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    context, step = context_in(cluster.policy), scale(cluster, 3)
    change = step.plan(context)
    cluster.patch("deployments", "web", {"metadata": {"annotations": {"someone": "else"}}})
    with pytest.raises(ConflictError, match="changed since it was read; nothing was written"):
        step.apply(context, change)
    assert cluster.get("deployments", "web")["spec"]["replicas"] == 1


def test_an_image_that_cannot_be_pulled_ends_in_its_own_message(cluster: Place) -> None:
    cluster.deploy(replicas=1, image="shop/web-broken:1", ready=False)
    with pytest.raises(PermanentError, match=r"web: 0 of 2 ready, .*the image shop/web-broken:1 of container web cannot be pulled"):
        carry_out(scale(cluster, 2), context_in(cluster.policy))


@pytest.mark.parametrize("cluster", ["real"], indirect=True)
def test_a_progress_deadline_that_passes_ends_in_its_own_message(cluster: Place) -> None:
    cluster.deploy(replicas=1, image="shop/web-slow:1", ready=False)
    cluster.patch("deployments", "web", {"spec": {"progressDeadlineSeconds": 1}})
    with pytest.raises(
        PermanentError, match=r"web: 0 of 2 ready, and it cannot go on: its progress deadline passed: .*has timed out progressing"
    ):
        carry_out(scale(cluster, 2), context_in(cluster.policy))


def test_scaling_to_nothing_is_done_when_no_pod_is_left(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    change, outcome = carry_out(scale(cluster, 0), context_in(cluster.policy))
    assert (change.summary, outcome.data["replicas"]) == ("web: 1 -> 0 replicas", 0)
    assert scale(cluster, 0).probe(context_in(cluster.policy), change) is Probe.DONE


def test_a_crash_loop_ends_in_its_own_message(cluster: Place) -> None:
    cluster.deploy(replicas=1, image="shop/web-crash:1", ready=False)
    with pytest.raises(PermanentError, match=r"container web \(shop/web-crash:1\) crashes again and again \(CrashLoopBackOff\)"):
        carry_out(scale(cluster, 2), context_in(cluster.policy))


@pytest.mark.parametrize("cluster", ["sandbox"], indirect=True)  # a slow image takes 8 s twice on the real one
def test_a_deadline_that_passes_leaves_the_step_in_doubt_and_the_probe_knows_more(cluster: Place) -> None:
    cluster.deploy(replicas=1, image="shop/web-slow:1")
    context, step = context_in(cluster.policy, seconds=1), scale(cluster, 2)
    change = step.plan(context)
    with pytest.raises(InDoubtError, match=r"web: the step's deadline passed before the rollout was done \(1 of 2 ready"):
        step.apply(context, change)
    assert step.probe(context_in(cluster.policy), change) is Probe.IN_PROGRESS
    cluster.until_ready("web")
    assert step.probe(context_in(cluster.policy), change) is Probe.DONE


def test_a_deployment_that_is_not_there_names_its_neighbours(cluster: Place) -> None:
    cluster.deploy("webshop", ready=False)
    with pytest.raises(
        PermanentError, match=f'^Namespace "{cluster.namespace}" of cluster "test" has no deployment "web". It has: webshop.$'
    ):
        scale(cluster, 2).plan(context_in(cluster.policy))


def test_a_quota_that_forbids_more_pods_ends_in_its_own_message(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}}
    cluster.create("resourcequotas", quota)
    if cluster.kind == "real":  # its controller must have counted the Pods before it refuses any
        cluster.until("resourcequotas", "few", lambda found: found.get("status", {}).get("used", {}).get("pods") == "1")
    with pytest.raises(PermanentError, match=r"web: 2 of 4 ready, and it cannot go on: a quota forbids more Pods: .*exceeded quota: few"):
        carry_out(scale(cluster, 4), context_in(cluster.policy))


def test_an_hpa_that_owns_the_deployment_gets_the_new_minimum(cluster: Place) -> None:
    cluster.deploy(replicas=2)
    cluster.create("horizontalpodautoscalers", hpa())
    context, step = context_in(cluster.policy, seconds=60), scale(cluster, 4)
    change = step.plan(context)
    assert change.summary == "web: at least 2 -> 4 replicas (minimum of HPA web)"
    assert (change.now["replicas"], change.after["replicas"]) == (2, 4)
    assert change.notes == ("owned by the HPA web: its minimum moves instead of the Deployment's replicas",)
    step.apply(context, change)
    assert cluster.get("deployments", "web")["status"]["readyReplicas"] == 4
    assert step.probe(context, change) is Probe.DONE
    undo = step.undo(change)
    assert isinstance(undo, Scale)
    assert undo.replicas == 2


def test_an_hpas_maximum_is_not_exceeded(cluster: Place) -> None:
    cluster.deploy(replicas=2)
    cluster.create("horizontalpodautoscalers", hpa(most=5))
    with pytest.raises(PermanentError, match="web is owned by the HPA web, which allows 1 to 5 replicas; 9 was asked for"):
        scale(cluster, 9).plan(context_in(cluster.policy))
