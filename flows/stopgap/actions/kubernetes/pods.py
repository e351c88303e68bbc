"""Pods: whose they are, what stands in the way of taking one away, and when one is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.actions.kubernetes import objects
from stopgap.actions.kubernetes.answers import ForbiddenError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopgap.actions.kubernetes.client import JSON, Client

MIRROR = "kubernetes.io/config.mirror"


def owner_of(pod: JSON) -> JSON | None:
    """Return the reference to the controller that made the Pod and would make it again; None when nothing would."""
    owners: list[JSON] = pod["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def name_of(pod: JSON) -> str:
    """Return `namespace/name`."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def workload_of(pod: JSON) -> str:
    """Return what the Pod belongs to, as people know it: `shop/ReplicaSet/web-5f7`, or the Pod itself."""
    owner = owner_of(pod)
    return f"{pod['metadata']['namespace']}/{owner['kind']}/{owner['name']}" if owner else f"{name_of(pod)} (of nobody)"


def stays(pod: JSON) -> bool:
    """A drain leaves it: a DaemonSet would put it back at once, or the kubelet itself runs it."""
    owner = owner_of(pod)
    return MIRROR in (pod["metadata"].get("annotations") or {}) or bool(owner and owner["kind"] == "DaemonSet")


def is_finished(pod: JSON) -> bool:
    """It has run to its end: nothing is lost with it."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def has_local_data(pod: JSON) -> bool:
    """It has an emptyDir, whose content is gone with it."""
    return any("emptyDir" in volume for volume in pod["spec"].get("volumes") or ())


def is_ending(pod: JSON) -> bool:
    """Its deletion was asked for."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_ready(pod: JSON) -> bool:
    """It takes traffic, and nobody has asked for its end."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return not is_ending(pod) and any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)


def on_node(api: Client, node: str) -> list[JSON]:
    """Return the Pods of every namespace that are on the node, by name."""
    found: list[JSON] = api.get("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")["items"]
    return sorted(found, key=name_of)


def blocking_budgets(api: Client, namespaces: Iterable[str], pods: Iterable[JSON]) -> tuple[str, ...]:
    """Name the PodDisruptionBudgets that allow no eviction of one of these Pods now, as sentences; nothing when they may not be read."""
    pods = list(pods)
    try:
        group = objects.served(api, "policy")
        budgets = [item for namespace in sorted(set(namespaces)) for item in _budgets(api, namespace, group)]
    except (ForbiddenError, NotFoundError):
        return ()
    blocked = [item for item in budgets if any(_covers(item, pod) for pod in pods) and not item.get("status", {}).get("disruptionsAllowed")]
    return tuple(
        f"the PodDisruptionBudget {item['metadata']['namespace']}/{item['metadata']['name']} allows no disruption now" for item in blocked
    )


def _budgets(api: Client, namespace: str, group: str) -> list[JSON]:
    found: list[JSON] = api.get(objects.collection("poddisruptionbudgets", namespace, group=group))["items"]
    return found


def _covers(budget: JSON, pod: JSON) -> bool:
    if budget["metadata"]["namespace"] != pod["metadata"]["namespace"]:
        return False
    wanted = (budget["spec"].get("selector") or {}).get("matchLabels") or {}
    labels = pod["metadata"].get("labels") or {}
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())
