"""The controllers around the rollout: a Service's Endpoints, and the autoscaler that keeps a Deployment within its bounds."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from stopgap.drills.world import kinds, pods, selectors

if TYPE_CHECKING:
    from datetime import datetime

    from stopgap.drills.world.kinds import Json
    from stopgap.drills.world.store import Store


def behind(store: Store, service: Json) -> list[Json]:
    """Return the Pods a Service selects, those on their way out left aside."""
    selector = service["spec"].get("selector") or {}
    found = store.list(kinds.PODS, service["metadata"]["namespace"])
    return [pod for pod in found if not pods.is_leaving(pod) and selectors.matches(selector, pod["metadata"].get("labels") or {})]


def sync_endpoints(store: Store, service: Json, at: datetime) -> None:
    """Write a Service's Endpoints from the Pods behind it."""
    metadata = {key: service["metadata"][key] for key in ("name", "namespace")}
    item = {"metadata": metadata, "subsets": _subsets(service, behind(store, service))}
    if not item["subsets"]:
        del item["subsets"]
    old = store.get(kinds.ENDPOINTS, metadata["namespace"], metadata["name"])
    if old is None:
        store.create(kinds.ENDPOINTS, item, at)
    else:
        changed = {key: value for key, value in copy.deepcopy(old).items() if key != "subsets"}
        store.replace(kinds.ENDPOINTS, {**changed, **{key: value for key, value in item.items() if key == "subsets"}})


def _subsets(service: Json, found: list[Json]) -> list[Json]:
    up = [_address(pod) for pod in found if pods.is_ready(pod)]
    down = [_address(pod) for pod in found if not pods.is_ready(pod) and pod["status"].get("podIP")]
    if not up and not down:
        return []
    ports = [{"port": port.get("targetPort", port["port"]), "protocol": port.get("protocol", "TCP")} for port in service["spec"]["ports"]]
    return [{**({"addresses": up} if up else {}), **({"notReadyAddresses": down} if down else {}), "ports": ports}]


def _address(pod: Json) -> Json:
    metadata = pod["metadata"]
    reference = {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}
    return {"ip": pod["status"].get("podIP", ""), "nodeName": "node-a", "targetRef": reference}


def sync_autoscaler(store: Store, autoscaler: Json) -> None:
    """Put a Deployment back within the autoscaler's minimum and maximum. One at 0 replicas is left alone, as in Kubernetes."""
    spec, reference = autoscaler["spec"], autoscaler["spec"]["scaleTargetRef"]
    target = store.get(kinds.DEPLOYMENTS, autoscaler["metadata"]["namespace"], reference["name"])
    if target is None or reference.get("kind") != "Deployment":
        return
    present = target["spec"]["replicas"]
    wanted = present if present == 0 else max(spec["minReplicas"], min(spec["maxReplicas"], present))
    if wanted != present:
        item = copy.deepcopy(target)
        item["spec"]["replicas"] = wanted
        item["metadata"]["generation"] += 1
        store.replace(kinds.DEPLOYMENTS, item)
    noted = copy.deepcopy(autoscaler)
    noted["status"] = {"currentReplicas": target["status"].get("replicas", 0) if "status" in target else 0, "desiredReplicas": wanted}
    store.replace(kinds.AUTOSCALERS, noted)
