"""The same rollouts on the sandbox and on a real control plane: revisions, bad images, quotas, autoscalers, endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client

from fixtures_sandbox import JSON, STRATEGIC, Place, deployment, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD, BETTER, BAD = "registry.example/web:1", "registry.example/web:2", "registry.example/web:bad"


@pytest.fixture
def autoscalers(place: Place) -> Iterator[Any]:
    with place.api() as api:
        yield client.AutoscalingV1Api(api)


def set_image(apps: Any, place: Place, image: str) -> Any:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
    return apps.patch_namespaced_deployment("web", place.namespace, patch, _content_type=STRATEGIC)


def rolled_out(apps: Any, place: Place, *, replicas: int) -> Any:
    def is_done() -> Any:
        found = apps.read_namespaced_deployment("web", place.namespace)
        status = found.status
        counts = {status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas}
        observed = (status.observed_generation or 0) >= found.metadata.generation
        return found if observed and counts == {replicas} and not status.unavailable_replicas else None

    return wait_until(is_done)


def conditions(found: Any) -> dict[str, tuple[str, str]]:
    return {item.type: (item.status, item.reason) for item in found.status.conditions or ()}


def revisions(apps: Any, place: Place) -> dict[str, tuple[str, int]]:
    """Image -> (revision, replicas wanted), by ReplicaSet."""
    return {
        item.spec.template.spec.containers[0].image: (item.metadata.annotations["deployment.kubernetes.io/revision"], item.spec.replicas)
        for item in apps.list_namespaced_replica_set(place.namespace, label_selector="app=web").items
    }


def test_a_new_deployment_rolls_out(place: Place, apps: Any) -> None:
    made = apps.create_namespaced_deployment(place.namespace, deployment(GOOD, replicas=3))
    assert made.status.observed_generation is None  # no controller has seen it yet
    found = rolled_out(apps, place, replicas=3)
    assert found.metadata.annotations["deployment.kubernetes.io/revision"] == "1"
    expected = {"Available": ("True", "MinimumReplicasAvailable"), "Progressing": ("True", "NewReplicaSetAvailable")}
    assert wait_until(lambda: conditions(apps.read_namespaced_deployment("web", place.namespace)) == expected)


def test_a_release_makes_a_revision_and_keeps_the_old_one(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment(GOOD, replicas=3))
    rolled_out(apps, place, replicas=3)
    set_image(apps, place, BETTER)
    found = rolled_out(apps, place, replicas=3)
    assert found.metadata.annotations["deployment.kubernetes.io/revision"] == "2"
    assert revisions(apps, place) == {GOOD: ("1", 0), BETTER: ("2", 3)}


def test_a_rollback_gives_the_old_template_a_new_number(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment(GOOD, replicas=2))
    rolled_out(apps, place, replicas=2)
    set_image(apps, place, BETTER)
    rolled_out(apps, place, replicas=2)
    old = next(
        item
        for item in apps.list_namespaced_replica_set(place.namespace).items
        if item.metadata.annotations["deployment.kubernetes.io/revision"] == "1"
    )
    template = apps.api_client.sanitize_for_serialization(old.spec.template)
    mark = template["metadata"]["labels"].pop("pod-template-hash")
    assert old.metadata.name == f"web-{mark}"
    patch = [{"op": "replace", "path": "/spec/template", "value": template}]
    apps.patch_namespaced_deployment("web", place.namespace, patch, _content_type=JSON)
    found = rolled_out(apps, place, replicas=2)
    assert found.metadata.annotations["deployment.kubernetes.io/revision"] == "3"
    assert revisions(apps, place) == {GOOD: ("3", 2), BETTER: ("2", 0)}
    history = apps.read_namespaced_replica_set(old.metadata.name, place.namespace).metadata.annotations
    assert history["deployment.kubernetes.io/revision-history"] == "1"


def test_a_bad_image_leaves_the_old_pods_serving(place: Place, apps: Any, core: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment(GOOD, replicas=3))
    rolled_out(apps, place, replicas=3)
    set_image(apps, place, BAD)

    def seen() -> tuple[Any, ...]:
        found = apps.read_namespaced_deployment("web", place.namespace)
        return found.status.replicas, found.status.updated_replicas, *conditions(found)["Progressing"]

    # A real controller that looks only when the Pod is there already finds the updated replicas fallen from three to one, which is no progress to it,
    # and leaves the reason as it was.
    stuck = {(4, 1, "True", reason) for reason in ("ReplicaSetUpdated", *(["NewReplicaSetCreated"] if place.is_real else []))}
    wait_until(lambda: seen() in stuck, or_say=seen)
    found = apps.read_namespaced_deployment("web", place.namespace)
    assert (found.status.ready_replicas, found.status.available_replicas, found.status.unavailable_replicas) == (3, 3, 1)
    assert conditions(found)["Available"] == ("True", "MinimumReplicasAvailable")
    assert revisions(apps, place) == {GOOD: ("1", 3), BAD: ("2", 1)}
    assert wait_until(lambda: waiting_reasons(core, place)) == {"ImagePullBackOff"}


def waiting_reasons(core: Any, place: Place) -> set[str]:
    states = [
        container.state.waiting
        for pod in core.list_namespaced_pod(place.namespace, label_selector="app=web").items
        for container in pod.status.container_statuses or ()
        if container.state.waiting
    ]
    return {state.reason for state in states} - {"ContainerCreating"}


def test_a_crashing_image_is_named_on_the_pods(place: Place, apps: Any, core: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment("registry.example/crash:1", replicas=2))
    assert wait_until(lambda: waiting_reasons(core, place)) == {"CrashLoopBackOff"}
    expected = ("False", "MinimumReplicasUnavailable")
    assert wait_until(lambda: conditions(apps.read_namespaced_deployment("web", place.namespace)).get("Available") == expected)


def test_a_rollout_that_stands_still_runs_late(place: Place, apps: Any) -> None:
    item = deployment(BAD, replicas=1)
    item["spec"]["progressDeadlineSeconds"] = 2
    apps.create_namespaced_deployment(place.namespace, item)

    def is_late() -> bool:
        found = conditions(apps.read_namespaced_deployment("web", place.namespace))
        return found.get("Progressing") == ("False", "ProgressDeadlineExceeded")

    assert wait_until(is_late)


def test_scaling_is_no_new_revision(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment(GOOD, replicas=1))
    rolled_out(apps, place, replicas=1)
    apps.patch_namespaced_deployment_scale("web", place.namespace, {"spec": {"replicas": 5}}, _content_type="application/merge-patch+json")
    rolled_out(apps, place, replicas=5)
    apps.patch_namespaced_deployment("web", place.namespace, {"spec": {"replicas": 2}}, _content_type=STRATEGIC)
    rolled_out(apps, place, replicas=2)
    assert revisions(apps, place) == {GOOD: ("1", 2)}


def test_scaling_in_the_middle_of_a_stuck_rollout_adds_to_both_releases(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment(GOOD, replicas=4))
    rolled_out(apps, place, replicas=4)
    set_image(apps, place, BAD)
    wait_until(lambda: revisions(apps, place) == {GOOD: ("1", 3), BAD: ("2", 2)})
    apps.patch_namespaced_deployment("web", place.namespace, {"spec": {"replicas": 8}}, _content_type=STRATEGIC)
    assert wait_until(lambda: revisions(apps, place) == {GOOD: ("1", 6), BAD: ("2", 4)})


def test_a_quota_takes_the_patch_and_fails_the_pods(place: Place, apps: Any, core: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment(GOOD, replicas=2))
    rolled_out(apps, place, replicas=2)
    core.create_namespaced_resource_quota(place.namespace, {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "3"}}})
    wait_until(lambda: place.is_real is False or quota_is_known(core, place))
    apps.patch_namespaced_deployment("web", place.namespace, {"spec": {"replicas": 6}}, _content_type=STRATEGIC)

    def failure() -> Any:
        found = apps.read_namespaced_deployment("web", place.namespace)
        return found if "ReplicaFailure" in conditions(found) and found.status.ready_replicas == 3 else None

    found = wait_until(failure)
    assert found.spec.replicas == 6
    assert conditions(found)["ReplicaFailure"] == ("True", "FailedCreate")
    message = next(item.message for item in found.status.conditions if item.type == "ReplicaFailure")
    assert "is forbidden: exceeded quota: few, requested: pods=1, used: pods=3, limited: pods=3" in message


def quota_is_known(core: Any, place: Place) -> bool:
    return bool((core.read_namespaced_resource_quota("few", place.namespace).status.used or {}).get("pods"))


def test_an_autoscaler_puts_a_manual_scale_back_to_its_minimum(place: Place, apps: Any, autoscalers: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment(GOOD, replicas=1))
    rolled_out(apps, place, replicas=1)
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    body = {"metadata": {"name": "web"}, "spec": {"scaleTargetRef": reference, "minReplicas": 3, "maxReplicas": 6}}
    autoscalers.create_namespaced_horizontal_pod_autoscaler(place.namespace, body)
    wait_until(lambda: apps.read_namespaced_deployment("web", place.namespace).spec.replicas == 3, within=40)
    patch = {"spec": {"minReplicas": 4}}
    after = autoscalers.patch_namespaced_horizontal_pod_autoscaler("web", place.namespace, patch, _content_type=STRATEGIC)
    assert (after.spec.min_replicas, after.spec.max_replicas) == (4, 6)
    wait_until(lambda: apps.read_namespaced_deployment("web", place.namespace).spec.replicas == 4, within=40)


def test_an_autoscaler_whose_minimum_is_above_its_maximum_is_invalid(place: Place, autoscalers: Any) -> None:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    body = {"metadata": {"name": "web"}, "spec": {"scaleTargetRef": reference, "minReplicas": 3, "maxReplicas": 6}}
    autoscalers.create_namespaced_horizontal_pod_autoscaler(place.namespace, body)
    with pytest.raises(client.ApiException) as caught:
        autoscalers.patch_namespaced_horizontal_pod_autoscaler("web", place.namespace, {"spec": {"minReplicas": 9}}, dry_run="All")
    assert caught.value.status == 422
    assert "spec.maxReplicas: Invalid value: 6: must be greater than or equal to `minReplicas`" in str(caught.value.body)


def test_endpoints_follow_the_services_selector(place: Place, apps: Any, core: Any) -> None:
    for name, track, replicas in (("web", "current", 2), ("web-stable", "stable", 3)):
        apps.create_namespaced_deployment(place.namespace, deployment(GOOD, name=name, track=track, replicas=replicas))
    selector = {"app": "web", "track": "current"}
    core.create_namespaced_service(place.namespace, {"metadata": {"name": "web"}, "spec": {"selector": selector, "ports": [{"port": 80}]}})

    def addresses() -> int:
        found = {item.metadata.name: item for item in core.list_namespaced_endpoints(place.namespace).items}
        return sum(len(subset.addresses or ()) for subset in (found["web"].subsets or ())) if "web" in found else 0

    wait_until(lambda: addresses() == 2)
    core.patch_namespaced_service("web", place.namespace, {"spec": {"selector": {"track": "stable"}}}, _content_type=STRATEGIC)
    wait_until(lambda: addresses() == 3)
    core.patch_namespaced_service("web", place.namespace, {"spec": {"selector": {"track": "absent"}}}, _content_type=STRATEGIC)
    wait_until(lambda: addresses() == 0)


def test_a_restart_replaces_every_pod(place: Place, apps: Any, core: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment(GOOD, replicas=2))
    rolled_out(apps, place, replicas=2)
    before = {pod.metadata.uid for pod in core.list_namespaced_pod(place.namespace).items}
    annotations = {"kubectl.kubernetes.io/restartedAt": "2026-11-21T03:00:00Z"}
    patch = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    apps.patch_namespaced_deployment("web", place.namespace, patch, _content_type=STRATEGIC)
    rolled_out(apps, place, replicas=2)

    def present() -> set[str]:
        return {pod.metadata.uid for pod in core.list_namespaced_pod(place.namespace).items}

    wait_until(lambda: len(present()) == 2)
    assert not present() & before


def test_a_deleted_pod_is_replaced(place: Place, apps: Any, core: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment(GOOD, replicas=2))
    rolled_out(apps, place, replicas=2)
    first = core.list_namespaced_pod(place.namespace).items[0].metadata
    core.delete_namespaced_pod(first.name, place.namespace)
    wait_until(lambda: first.uid not in {pod.metadata.uid for pod in core.list_namespaced_pod(place.namespace).items})
    rolled_out(apps, place, replicas=2)


def test_a_deleted_deployment_takes_its_pods_along(place: Place, apps: Any, core: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment(GOOD, replicas=2))
    rolled_out(apps, place, replicas=2)
    apps.delete_namespaced_deployment("web", place.namespace)
    wait_until(lambda: not core.list_namespaced_pod(place.namespace).items)
    assert not apps.list_namespaced_replica_set(place.namespace).items
