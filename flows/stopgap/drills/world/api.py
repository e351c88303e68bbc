"""The sandbox's Kubernetes API: one request in, one answer out."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stopgap.drills.world import access, admission, autoscaling, kinds, patches, pods, refusals, selectors
from stopgap.drills.world.store import stamp

if TYPE_CHECKING:
    from stopgap.drills.world.cluster import Cluster
    from stopgap.drills.world.kinds import Json
    from stopgap.drills.world.request import Request

IMMUTABLE = ("uid", "creationTimestamp", "generation", "resourceVersion", "name", "namespace", "ownerReferences", "deletionTimestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One request that was allowed to change something, and whether it did. Dry runs and refusals are no effects."""

    at: str
    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    changed: bool
    body: Any = None


@dataclass(slots=True)
class Api:
    """Answers requests on a cluster and lists the effects it carried out."""

    cluster: Cluster
    effects: list[Effect] = field(default_factory=list)

    def answer(self, request: Request) -> tuple[int, Json]:
        """Return the status code and the body. Refusal when the server says no."""
        self._authorize(request)
        if request.kind is kinds.ACCESS_REVIEWS:
            return self._review(request)
        version = self.cluster.store.version
        code, body = self._dispatch(request)
        if request.method not in ("GET", "HEAD") and not request.is_dry:
            self._note(request, changed=self.cluster.store.version != version)
        return code, body

    def _authorize(self, request: Request) -> None:
        if not access.may(request.user, request.verb, request.resource):
            raise refusals.forbidden(request)

    def _review(self, request: Request) -> tuple[int, Json]:
        if request.method != "POST":
            raise refusals.not_allowed()
        asked = (request.body or {}).get("spec", {}).get("resourceAttributes") or {}
        tail = f"/{asked['subresource']}" if asked.get("subresource") else ""
        allowed = access.may(request.user, asked.get("verb", ""), f"{asked.get('group', '')}/{asked.get('resource', '')}{tail}")
        head = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}}
        return 201, {**head, "spec": {"resourceAttributes": asked}, "status": {"allowed": allowed}}

    def _dispatch(self, request: Request) -> tuple[int, Json]:
        if request.verb == "list":
            return 200, self._list(request)
        if request.verb == "create" and not request.name:
            return 201, self._create(request)
        if not request.name or request.verb not in ("get", "patch", "update", "delete"):
            raise refusals.not_allowed()
        present = self._present(request)
        if request.verb == "get":
            return 200, self._shown(request, present)
        if request.verb == "delete":
            return 200, self._delete(request, present)
        return 200, self._change(request, present)

    def _present(self, request: Request) -> Json:
        found = self.cluster.store.get(request.kind, request.namespace, request.name)
        if found is None:
            raise refusals.not_found(request.kind, request.name)
        return found

    def _list(self, request: Request) -> Json:
        by_labels = selectors.labels(request.query.get("labelSelector", ""))
        by_fields = selectors.fields(request.query.get("fieldSelector", ""))
        found = self.cluster.store.list(request.kind, request.namespace)
        items = [item for item in found if by_labels(item["metadata"].get("labels") or {}) and by_fields(item)]
        return {
            "kind": f"{request.kind.name}List",
            "apiVersion": request.kind.api_version(request.version),
            "metadata": {"resourceVersion": str(self.cluster.store.version)},
            "items": [self._converted(request, item) for item in items],
        }

    def _converted(self, request: Request, item: Json) -> Json:
        return autoscaling.to_version(request.version, item) if request.kind is kinds.AUTOSCALERS else copy.deepcopy(item)

    def _shown(self, request: Request, item: Json) -> Json:
        if request.subresource == "scale":
            return _scale_of(item)
        head = {"kind": request.kind.name, "apiVersion": request.kind.api_version(request.version)}
        return {**head, **self._converted(request, item)}

    def _create(self, request: Request) -> Json:
        if not isinstance(request.body, dict):
            raise refusals.bad_request("the body is not a JSON object")
        kind, store = request.kind, self.cluster.store
        item = {key: value for key, value in copy.deepcopy(request.body).items() if key not in ("kind", "apiVersion", "status")}
        if kind is kinds.AUTOSCALERS:
            item = autoscaling.from_version(request.version, item)
        item.setdefault("metadata", {})
        if kind.namespaced:
            item["metadata"]["namespace"] = request.namespace
            if not store.has_namespace(request.namespace):
                raise refusals.not_found(kinds.NAMESPACES, request.namespace)
        admission.admit(kind, item, None)
        if store.get(kind, request.namespace, item["metadata"]["name"]) is not None:
            raise refusals.already_exists(kind, item["metadata"]["name"])
        if request.is_dry:
            return self._shown(request, store.dressed(kind, item, self.cluster.at))
        return self._shown(request, store.create(kind, item, self.cluster.at))

    def _change(self, request: Request, present: Json) -> Json:
        shown = self._shown(request, present)
        written = patches.apply(request.content_type, shown, request.body) if request.verb == "patch" else copy.deepcopy(request.body)
        if not isinstance(written, dict):
            raise refusals.bad_request("the body is not a JSON object")
        sent = (written.get("metadata") or {}).get("resourceVersion")
        if sent and sent != present["metadata"]["resourceVersion"]:
            raise refusals.conflict(request.kind, request.name)
        item = self._next(request, present, written)
        admission.admit(request.kind, item, present)
        if request.kind.has_generation and _is_new_generation(request.kind, item, present):
            item["metadata"]["generation"] = present["metadata"]["generation"] + 1
        return self._shown(request, item if request.is_dry else self.cluster.store.replace(request.kind, item))

    def _next(self, request: Request, present: Json, written: Json) -> Json:
        """Return the object's next state; a client changes neither its status nor the server's own metadata."""
        if request.subresource == "scale":
            item = copy.deepcopy(present)
            item["spec"]["replicas"] = (written.get("spec") or {}).get("replicas", 0)
            if isinstance(item["spec"]["replicas"], int) and item["spec"]["replicas"] < 0:
                raise _negative_scale(request.name, item["spec"]["replicas"])
            return item
        if request.subresource == "status":
            return copy.deepcopy(present) | {"status": written.get("status", {})}
        item = {key: value for key, value in written.items() if key not in ("kind", "apiVersion", "status")}
        if request.kind is kinds.AUTOSCALERS:
            item = autoscaling.from_version(request.version, item)
        metadata = {key: value for key, value in (item.get("metadata") or {}).items() if key not in IMMUTABLE}
        item["metadata"] = metadata | {key: value for key, value in present["metadata"].items() if key in IMMUTABLE}
        if "status" in present:
            item["status"] = copy.deepcopy(present["status"])
        return item

    def _delete(self, request: Request, present: Json) -> Json:
        if request.is_dry:
            return self._shown(request, present)
        if request.kind is kinds.PODS:
            gone = pods.leave(self.cluster.store, present, self.cluster.at, self.cluster.pace)
            return self._shown(request, gone)
        self.cluster.remove(request.kind, present)
        details = {"name": request.name, "group": request.kind.group, "kind": request.kind.plural, "uid": present["metadata"]["uid"]}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {k: v for k, v in details.items() if v},
        }

    def _note(self, request: Request, *, changed: bool) -> None:
        self.cluster.written()
        self.effects.append(
            Effect(
                at=stamp(self.cluster.at),
                user=request.user,
                verb=request.verb,
                resource=request.resource,
                namespace=request.namespace,
                name=request.name or ((request.body or {}).get("metadata") or {}).get("name", ""),
                changed=changed,
                body=request.body,
            )
        )


def _is_new_generation(kind: kinds.Kind, item: Json, present: Json) -> bool:
    if item.get("spec") != present.get("spec"):
        return True
    # A Deployment's annotations count too, though the revision that its controller notes there does not. A custom resource's do not.
    return kind not in kinds.ROUTES and item["metadata"].get("annotations") != present["metadata"].get("annotations")


def _scale_of(item: Json) -> Json:
    metadata = {key: item["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    selector = ",".join(f"{key}={value}" for key, value in sorted(item["spec"]["selector"]["matchLabels"].items()))
    status = {"replicas": item.get("status", {}).get("replicas", 0), "selector": selector}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": item["spec"]["replicas"]},
        "status": status,
    }


def _negative_scale(name: str, replicas: int) -> refusals.Refusal:
    scale = kinds.Kind(name="Scale", plural="scale", group="autoscaling")
    rule = f"Invalid value: {replicas}: must be greater than or equal to 0"
    return refusals.invalid(scale, name, [("FieldValueInvalid", "spec.replicas", rule)])
