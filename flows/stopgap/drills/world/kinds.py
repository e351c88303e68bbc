"""`Kind`: the kinds of objects the sandbox's cluster knows, and what each is called on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]  # an object as the Kubernetes API writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of object: `name` is "Deployment", `plural` its name in paths; the first of `versions` is how it is stored."""

    name: str
    plural: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    namespaced: bool = True
    has_generation: bool = False
    subresources: tuple[str, ...] = ()

    @property
    def qualified(self) -> str:
        """As messages name it: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def api_version(self, version: str = "") -> str:
        """Return the `apiVersion` of an object of this kind: `apps/v1`."""
        return f"{self.group}/{version or self.versions[0]}" if self.group else version or self.versions[0]


NAMESPACES = Kind(name="Namespace", plural="namespaces", namespaced=False)
DEPLOYMENTS = Kind(name="Deployment", plural="deployments", group="apps", has_generation=True, subresources=("scale", "status"))
REPLICA_SETS = Kind(name="ReplicaSet", plural="replicasets", group="apps", has_generation=True, subresources=("status",))
PODS = Kind(name="Pod", plural="pods", subresources=("status",))
SERVICES = Kind(name="Service", plural="services")
ENDPOINTS = Kind(name="Endpoints", plural="endpoints")
EVENTS = Kind(name="Event", plural="events")
QUOTAS = Kind(name="ResourceQuota", plural="resourcequotas")
AUTOSCALERS = Kind(name="HorizontalPodAutoscaler", plural="horizontalpodautoscalers", group="autoscaling", versions=("v1", "v2"))
HTTP_ROUTES = Kind(name="HTTPRoute", plural="httproutes", group="gateway.networking.k8s.io", has_generation=True, subresources=("status",))
VIRTUAL_SERVICES = Kind(
    name="VirtualService",
    plural="virtualservices",
    group="networking.istio.io",
    versions=("v1beta1",),
    has_generation=True,
    subresources=("status",),
)
ROUTES = (HTTP_ROUTES, VIRTUAL_SERVICES)  # kept and changed like any object; nothing in the sandbox routes by them
ACCESS_REVIEWS = Kind(name="SelfSubjectAccessReview", plural="selfsubjectaccessreviews", group="authorization.k8s.io", namespaced=False)

KINDS = (NAMESPACES, DEPLOYMENTS, REPLICA_SETS, PODS, SERVICES, ENDPOINTS, EVENTS, QUOTAS, AUTOSCALERS, *ROUTES, ACCESS_REVIEWS)
