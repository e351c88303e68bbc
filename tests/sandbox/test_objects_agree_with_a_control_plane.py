"""The same calls on the sandbox and on a real control plane: reading, patching, refusing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from fixtures_sandbox import JSON, MERGE, STRATEGIC, Place, deployment

if TYPE_CHECKING:
    from collections.abc import Callable


def refusal(call: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    with pytest.raises(ApiException) as caught:
        call(*args, **kwargs)
    status: dict[str, Any] = json.loads(str(caught.value.body))
    assert status["code"] == caught.value.status
    return status


def test_a_strategic_merge_keeps_the_other_containers_and_variables(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    container = {"name": "app", "image": "registry.example/web:2", "env": [{"name": "EXTRA", "value": "1"}]}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    after = apps.patch_namespaced_deployment("web", place.namespace, patch, _content_type=STRATEGIC)
    containers = {item.name: item for item in after.spec.template.spec.containers}
    assert {name: item.image for name, item in containers.items()} == {
        "app": "registry.example/web:2",
        "sidecar": "registry.example/side:1",
    }
    assert {item.name: item.value for item in containers["app"].env} == {"MODE": "plain", "EXTRA": "1"}


def test_a_strategic_merge_deletes_an_item_and_replaces_a_list(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "sidecar", "$patch": "delete"}]}}}}
    after = apps.patch_namespaced_deployment("web", place.namespace, patch, _content_type=STRATEGIC)
    assert [item.name for item in after.spec.template.spec.containers] == ["app"]
    containers = [{"$patch": "replace"}, {"name": "other", "image": "registry.example/other:1"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    after = apps.patch_namespaced_deployment("web", place.namespace, patch, _content_type=STRATEGIC)
    assert [item.name for item in after.spec.template.spec.containers] == ["other"]


def test_a_template_is_replaced_as_a_rollback_does_it(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    template = deployment("registry.example/web:9")["spec"]["template"]
    template["spec"]["containers"] = template["spec"]["containers"][:1]
    patch = [{"op": "replace", "path": "/spec/template", "value": template}]
    after = apps.patch_namespaced_deployment("web", place.namespace, patch, _content_type=JSON)
    assert [item.image for item in after.spec.template.spec.containers] == ["registry.example/web:9"]
    strategic = {"spec": {"template": {"$patch": "replace", **deployment("registry.example/web:8")["spec"]["template"]}}}
    after = apps.patch_namespaced_deployment("web", place.namespace, strategic, _content_type=STRATEGIC)
    assert [item.image for item in after.spec.template.spec.containers] == ["registry.example/web:8", "registry.example/side:1"]


def test_a_merge_patch_replaces_a_list(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry.example/web:2"}]}}}}
    after = apps.patch_namespaced_deployment("web", place.namespace, patch, _content_type=MERGE)
    assert [item.name for item in after.spec.template.spec.containers] == ["app"]


def test_a_json_patch_that_tests_wrongly_changes_nothing(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    patch = [{"op": "test", "path": "/spec/replicas", "value": 7}, {"op": "replace", "path": "/spec/replicas", "value": 8}]
    assert refusal(apps.patch_namespaced_deployment, "web", place.namespace, patch, _content_type=JSON)["code"] == 422
    assert apps.read_namespaced_deployment("web", place.namespace).spec.replicas == 1


def test_annotations_and_labels_are_merged_and_removed(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    before = apps.patch_namespaced_deployment("web", place.namespace, {"metadata": {"annotations": {"a/mark": "1", "b": "2"}}})
    after = apps.patch_namespaced_deployment("web", place.namespace, {"metadata": {"annotations": {"b": None}}})
    assert after.metadata.annotations.get("a/mark") == "1"
    assert "b" not in after.metadata.annotations
    assert after.metadata.generation == before.metadata.generation + 1  # a Deployment's annotations count as a change of it


def test_a_stale_resource_version_is_a_conflict(place: Place, apps: Any) -> None:
    before = apps.create_namespaced_deployment(place.namespace, deployment())
    apps.patch_namespaced_deployment("web", place.namespace, {"metadata": {"labels": {"moved": "1"}}})
    patch = {"metadata": {"resourceVersion": before.metadata.resource_version}, "spec": {"replicas": 5}}
    status = refusal(apps.patch_namespaced_deployment, "web", place.namespace, patch, _content_type=STRATEGIC)
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        'Operation cannot be fulfilled on deployments.apps "web": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert apps.read_namespaced_deployment("web", place.namespace).spec.replicas == 1


def test_the_same_patch_twice_is_no_second_write(place: Place, core: Any) -> None:
    core.create_namespaced_service(place.namespace, service())
    patch = {"spec": {"selector": {"track": "stable"}}}
    first = core.patch_namespaced_service("web", place.namespace, patch, _content_type=STRATEGIC)
    second = core.patch_namespaced_service("web", place.namespace, patch, _content_type=STRATEGIC)
    assert first.spec.selector == {"app": "web", "track": "stable"}
    assert second.metadata.resource_version == first.metadata.resource_version


def service(track: str = "current") -> dict[str, Any]:
    return {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web", "track": track}, "ports": [{"port": 80}]}}


def test_a_selector_is_replaced_when_the_patch_says_so(place: Place, core: Any) -> None:
    core.create_namespaced_service(place.namespace, service())
    replaced = {"spec": {"selector": {"$patch": "replace", "version": "stable"}}}
    after = core.patch_namespaced_service("web", place.namespace, replaced, _content_type=STRATEGIC)
    assert after.spec.selector == {"version": "stable"}


def test_a_dry_run_changes_nothing_and_shows_what_would_be(place: Place, apps: Any, core: Any) -> None:
    before = apps.create_namespaced_deployment(place.namespace, deployment())
    core.create_namespaced_service(place.namespace, service())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry.example/web:2"}]}}}}
    shown = apps.patch_namespaced_deployment("web", place.namespace, patch, dry_run="All", _content_type=STRATEGIC)
    assert shown.spec.template.spec.containers[0].image == "registry.example/web:2"
    scaled = apps.patch_namespaced_deployment_scale("web", place.namespace, {"spec": {"replicas": 4}}, dry_run="All", _content_type=MERGE)
    assert scaled.spec.replicas == 4
    moved = core.patch_namespaced_service(
        "web", place.namespace, {"spec": {"selector": {"track": "x"}}}, dry_run="All", _content_type=STRATEGIC
    )
    assert moved.spec.selector["track"] == "x"
    after = apps.read_namespaced_deployment("web", place.namespace)
    assert (after.metadata.generation, after.spec.replicas) == (before.metadata.generation, 1)
    assert after.spec.template.spec.containers[0].image == "registry.example/web:1"
    assert core.read_namespaced_service("web", place.namespace).spec.selector["track"] == "current"


def test_a_dry_run_is_validated(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    patch = {"spec": {"replicas": -1}}
    status = refusal(apps.patch_namespaced_deployment, "web", place.namespace, patch, dry_run="All", _content_type=STRATEGIC)
    assert (status["code"], status["reason"]) == (422, "Invalid")


def test_negative_replicas_are_invalid(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    status = refusal(apps.patch_namespaced_deployment, "web", place.namespace, {"spec": {"replicas": -1}}, _content_type=STRATEGIC)
    assert status["message"] == 'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    assert [cause["field"] for cause in status["details"]["causes"]] == ["spec.replicas"]
    status = refusal(apps.patch_namespaced_deployment_scale, "web", place.namespace, {"spec": {"replicas": -1}}, _content_type=MERGE)
    assert status["message"] == 'Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'


def test_a_selector_is_immutable(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    labels = {"app": "other"}
    patch = {"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}
    status = refusal(apps.patch_namespaced_deployment, "web", place.namespace, patch, _content_type=MERGE)
    assert status["code"] == 422
    assert [cause["field"] for cause in status["details"]["causes"]] == ["spec.selector"]


def test_a_new_container_without_an_image_is_invalid(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "third"}]}}}}
    status = refusal(apps.patch_namespaced_deployment, "web", place.namespace, patch, _content_type=STRATEGIC)
    assert status["code"] == 422
    assert [(cause["reason"], cause["message"]) for cause in status["details"]["causes"]] == [("FieldValueRequired", "Required value")]


def test_a_selector_value_that_is_no_label_is_invalid(place: Place, core: Any) -> None:
    core.create_namespaced_service(place.namespace, service())
    patch = {"spec": {"selector": {"track": "not a label!"}}}
    status = refusal(core.patch_namespaced_service, "web", place.namespace, patch, _content_type=STRATEGIC)
    assert status["code"] == 422
    assert [cause["field"] for cause in status["details"]["causes"]] == ["spec.selector"]


def test_a_wrong_type_is_a_bad_request(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    status = refusal(apps.patch_namespaced_deployment, "web", place.namespace, {"spec": {"replicas": "nine"}}, _content_type=STRATEGIC)
    assert status["code"] in (400, 422)


def test_what_is_missing_is_named(place: Place, apps: Any, core: Any) -> None:
    status = refusal(apps.read_namespaced_deployment, "absent", place.namespace)
    assert (status["reason"], status["message"]) == ("NotFound", 'deployments.apps "absent" not found')
    assert status["details"] == {"name": "absent", "group": "apps", "kind": "deployments"}
    assert refusal(apps.patch_namespaced_deployment, "absent", place.namespace, {"spec": {"replicas": 1}})["code"] == 404
    status = refusal(core.read_namespaced_service, "absent", "no-such-namespace")
    assert status["message"] == 'services "absent" not found'
    status = refusal(core.create_namespaced_service, "no-such-namespace", service())
    assert status["message"] == 'namespaces "no-such-namespace" not found'


def test_a_second_object_of_one_name_is_refused(place: Place, core: Any) -> None:
    core.create_namespaced_service(place.namespace, service())
    status = refusal(core.create_namespaced_service, place.namespace, service())
    assert (status["reason"], status["message"]) == ("AlreadyExists", 'services "web" already exists')


def test_the_viewer_may_read_and_not_write(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment())
    with place.api("viewer") as api:
        viewer: Any = client.AppsV1Api(api)
        assert viewer.read_namespaced_deployment("web", place.namespace).spec.replicas == 1
        status = refusal(viewer.patch_namespaced_deployment, "web", place.namespace, {"spec": {"replicas": 2}})
        scale = refusal(viewer.patch_namespaced_deployment_scale, "web", place.namespace, {"spec": {"replicas": 2}})
        dry = refusal(viewer.patch_namespaced_deployment, "web", place.namespace, {"spec": {"replicas": 2}}, dry_run="All")
    asked = f'in API group "apps" in the namespace "{place.namespace}"'
    assert status["message"] == f'deployments.apps "web" is forbidden: User "viewer" cannot patch resource "deployments" {asked}'
    assert scale["message"] == f'deployments.apps "web" is forbidden: User "viewer" cannot patch resource "deployments/scale" {asked}'
    assert (dry["code"], dry["reason"]) == (403, "Forbidden")


def test_nobody_may_not_even_read(place: Place) -> None:
    with place.api("nobody") as api:
        status = refusal(client.CoreV1Api(api).list_namespaced_pod, place.namespace)
    asked = f'in API group "" in the namespace "{place.namespace}"'
    assert status["message"] == f'pods is forbidden: User "nobody" cannot list resource "pods" {asked}'


@pytest.mark.parametrize(
    ("user", "allowed"),
    [
        ("admin", [True, True, True]),
        ("responder", [True, True, False]),
        ("viewer", [True, False, False]),
        ("nobody", [False, False, False]),
    ],
)
def test_a_user_can_ask_what_they_may_do(place: Place, user: str, allowed: list[bool]) -> None:
    asked = [("get", "apps", "deployments", ""), ("patch", "apps", "deployments", "scale"), ("delete", "", "services", "")]
    with place.api(user) as api:
        reviews: Any = client.AuthorizationV1Api(api)
        found = []
        for verb, group, resource, subresource in asked:
            attributes = {"namespace": place.namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource}
            body = {"spec": {"resourceAttributes": attributes}}
            found.append(reviews.create_self_subject_access_review(body).status.allowed)
    assert found == allowed


def test_lists_are_selected_by_labels_and_fields(place: Place, apps: Any) -> None:
    for name, track in (("one", "stable"), ("two", "canary"), ("three", "canary")):
        item = deployment(name=name, track=track)
        item["metadata"]["labels"] = {"track": track}
        apps.create_namespaced_deployment(place.namespace, item)

    def names(**selector: str) -> set[str]:
        return {item.metadata.name for item in apps.list_namespaced_deployment(place.namespace, **selector).items}

    assert names(label_selector="track=canary") == {"two", "three"}
    assert names(label_selector="track in (stable, canary)") == {"one", "two", "three"}
    assert names(label_selector="track notin (stable)") == {"two", "three"}
    assert names(label_selector="track!=canary") == {"one"}
    assert names(label_selector="!track") == set()
    assert names(label_selector="track,track=stable") == {"one"}
    assert names(field_selector="metadata.name=two") == {"two"}


def test_the_scale_shows_replicas_and_selector(place: Place, apps: Any) -> None:
    apps.create_namespaced_deployment(place.namespace, deployment(replicas=2))
    scale = apps.read_namespaced_deployment_scale("web", place.namespace)
    assert (scale.spec.replicas, scale.status.selector) == (2, "app=web,track=current")
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 3}}
    assert refusal(apps.patch_namespaced_deployment_scale, "web", place.namespace, stale, _content_type=MERGE)["code"] == 409
    after = apps.patch_namespaced_deployment_scale("web", place.namespace, {"spec": {"replicas": 3}}, _content_type=MERGE)
    assert (after.spec.replicas, apps.read_namespaced_deployment("web", place.namespace).spec.replicas) == (3, 3)
