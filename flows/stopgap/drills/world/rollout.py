"""The Deployment controller: revisions, ReplicaSets and rolling updates, after the arithmetic of Kubernetes' own.

Source: pkg/controller/deployment (sync.go, rolling.go, recreate.go) of Kubernetes 1.20. What is left out: hash collisions.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap.drills.world import kinds

if TYPE_CHECKING:
    from datetime import datetime

    from stopgap.drills.world.kinds import Json
    from stopgap.drills.world.store import Store

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many Pods a rollout may have: `wanted` when it is done, at most `most`, at least `least` of them available."""

    wanted: int
    most: int
    least: int


def bounds(deployment: Json) -> Bounds:
    """Resolve the Deployment's maxSurge (rounded up) and maxUnavailable (rounded down)."""
    wanted = deployment["spec"]["replicas"]
    rolling = deployment["spec"]["strategy"].get("rollingUpdate")
    if rolling is None or wanted == 0:
        return Bounds(wanted=wanted, most=wanted, least=wanted if rolling is not None else 0)
    surge = _share(rolling.get("maxSurge", "25%"), wanted, up=True)
    missing = _share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    if surge == 0 and missing == 0:
        missing = 1
    return Bounds(wanted=wanted, most=wanted + surge, least=wanted - min(missing, wanted))


def _share(value: Any, whole: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    exact = whole * int(str(value).rstrip("%")) / 100
    return math.ceil(exact) if up else math.floor(exact)


def template_of(replica_set: Json) -> Json:
    """Return a ReplicaSet's Pod template without the hash label, as its Deployment wrote it."""
    template = copy.deepcopy(replica_set["spec"]["template"])
    template["metadata"]["labels"].pop(HASH, None)
    return dict(template)


def newest(deployment: Json, sets: list[Json]) -> Json | None:
    """Return the ReplicaSet that has the Deployment's present template."""
    return next((item for item in sets if template_of(item) == deployment["spec"]["template"]), None)


def sync(store: Store, deployment: Json, at: datetime) -> None:
    """Bring the ReplicaSets of one Deployment one pass nearer to what it asks for."""
    sets = sorted(store.owned(kinds.REPLICA_SETS, deployment), key=revision_of)
    current = newest(deployment, sets)
    if current is None:
        if deployment["spec"].get("paused"):
            return
        current = _create(store, deployment, sets, at)
        sets = [*sets, current]
    _number(store, deployment, current, sets)
    sizes = _sizes(deployment, _fresh(store, current), [_fresh(store, item) for item in sets if item is not current])
    limits = bounds(deployment)
    for item in sets:
        _resize(store, _fresh(store, item), sizes[item["metadata"]["name"]], limits)
    _forget(store, deployment, current)


def revision_of(item: Json) -> int:
    """Return the revision noted on a Deployment or ReplicaSet; 0 without one."""
    return int((item["metadata"].get("annotations") or {}).get(REVISION, 0))


def _create(store: Store, deployment: Json, sets: list[Json], at: datetime) -> Json:
    spec, metadata = deployment["spec"], deployment["metadata"]
    text = json.dumps(spec["template"], sort_keys=True)
    mark = hashlib.sha256(text.encode()).hexdigest()[:10].translate(str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst"))
    template = copy.deepcopy(spec["template"])
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH] = mark
    limits = bounds(deployment)
    active = sum(item["spec"]["replicas"] for item in sets)
    size = limits.wanted if not active else max(0, min(limits.most - active, limits.wanted))
    if spec["strategy"]["type"] == "Recreate" and active:
        size = 0
    annotations = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if not key.startswith("kubectl.kubernetes.io/last")
    }
    annotations |= {REVISION: str(_next_revision(sets)), DESIRED: str(limits.wanted), MOST: str(limits.most)}
    item = {
        "metadata": {
            "name": f"{metadata['name']}-{mark}",
            "namespace": metadata["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": annotations,
            "ownerReferences": [owner_reference(kinds.DEPLOYMENTS, deployment)],
        },
        "spec": {
            "replicas": size,
            "selector": {"matchLabels": {**spec["selector"]["matchLabels"], HASH: mark}},
            "template": template,
        },
        "status": {"replicas": 0},
    }
    return store.create(kinds.REPLICA_SETS, item, at)


def owner_reference(kind: kinds.Kind, owner: Json) -> Json:
    """Return what an object carries that is controlled by `owner`."""
    metadata = owner["metadata"]
    flags = {"controller": True, "blockOwnerDeletion": True}
    return {"apiVersion": kind.api_version(), "kind": kind.name, "name": metadata["name"], "uid": metadata["uid"], **flags}


def _next_revision(sets: list[Json]) -> int:
    return max((revision_of(item) for item in sets), default=0) + 1


def _number(store: Store, deployment: Json, current: Json, sets: list[Json]) -> None:
    """A template that comes back gets a new number: a rollback to revision 1 is revision 3."""
    others = [item for item in sets if item is not current]
    item = copy.deepcopy(current)
    annotations = item["metadata"].setdefault("annotations", {})
    if others and revision_of(current) < _next_revision(others):
        annotations[HISTORY] = ",".join(filter(None, (annotations.get(HISTORY), annotations[REVISION])))
        annotations[REVISION] = str(_next_revision(others))
        store.replace(kinds.REPLICA_SETS, item)
    noted = copy.deepcopy(deployment)
    noted["metadata"].setdefault("annotations", {})[REVISION] = annotations[REVISION]
    store.replace(kinds.DEPLOYMENTS, noted)


def _fresh(store: Store, item: Json) -> Json:
    return store.get(kinds.REPLICA_SETS, item["metadata"]["namespace"], item["metadata"]["name"]) or item


def _sizes(deployment: Json, current: Json, others: list[Json]) -> dict[str, int]:
    """Return the next size of each ReplicaSet, by name."""
    limits = bounds(deployment)
    active = [item for item in [*others, current] if item["spec"]["replicas"] > 0]
    keep = {item["metadata"]["name"]: item["spec"]["replicas"] for item in [*others, current]}
    is_scaling = any(int(item["metadata"].get("annotations", {}).get(DESIRED, limits.wanted)) != limits.wanted for item in active)
    if is_scaling and len(active) > 1:
        return keep | _proportional(active, limits)
    if deployment["spec"].get("paused"):
        only = active[0] if active else current
        return keep | {only["metadata"]["name"]: limits.wanted}
    if deployment["spec"]["strategy"]["type"] == "Recreate":
        return _recreate(keep, current, others, limits)
    return _rolling(keep, current, others, limits)


def _proportional(active: list[Json], limits: Bounds) -> dict[str, int]:
    """A Deployment scaled in the middle of a rollout shares the difference among its ReplicaSets by their size."""
    add = (limits.most if limits.wanted else 0) - sum(item["spec"]["replicas"] for item in active)
    ordered = sorted(active, key=lambda item: (-item["spec"]["replicas"], -revision_of(item) if add > 0 else revision_of(item)))
    sizes, added = {}, 0
    for item in ordered:
        size = item["spec"]["replicas"]
        most = int(item["metadata"]["annotations"].get(MOST, limits.most)) or 1
        share = round(size * limits.most / most) - size if limits.wanted else -size
        share = min(share, add - added) if add > 0 else max(share, add - added)
        sizes[item["metadata"]["name"]] = max(0, size + share)
        added += share
    first = ordered[0]["metadata"]["name"]
    sizes[first] = max(0, sizes[first] + add - added)
    return sizes


def _recreate(keep: dict[str, int], current: Json, others: list[Json], limits: Bounds) -> dict[str, int]:
    sizes = keep | {item["metadata"]["name"]: 0 for item in others}
    has_gone = all(item["status"].get("replicas", 0) == 0 for item in others)
    return sizes | {current["metadata"]["name"]: limits.wanted if has_gone else current["spec"]["replicas"]}


def _rolling(keep: dict[str, int], current: Json, others: list[Json], limits: Bounds) -> dict[str, int]:
    name, size = current["metadata"]["name"], current["spec"]["replicas"]
    total = sum(keep.values())
    grown = size if size == limits.wanted else min(limits.wanted, size + max(0, limits.most - total))
    if grown != size:
        return keep | {name: grown}
    return keep | _shrunk(current, [item for item in others if item["spec"]["replicas"] > 0], limits)


def _shrunk(current: Json, others: list[Json], limits: Bounds) -> dict[str, int]:
    """Take Pods from old ReplicaSets: first those that never got ready, then as many as availability allows."""
    up = sum(available(item) for item in [*others, current])
    total = sum(item["spec"]["replicas"] for item in [*others, current])
    missing = current["spec"]["replicas"] - available(current)
    room = total - limits.least - missing
    if room <= 0:
        return {}
    sizes = {item["metadata"]["name"]: item["spec"]["replicas"] for item in others}
    for item in others:
        unhealthy = min(room, max(0, item["spec"]["replicas"] - available(item)))
        sizes[item["metadata"]["name"]] -= unhealthy
        room -= unhealthy
    spare = max(0, min(up - limits.least, room))
    for name, size in sizes.items():
        taken = min(spare, size)
        sizes[name] -= taken
        spare -= taken
    return sizes


def available(item: Json) -> int:
    """Return how many Pods of a ReplicaSet are available."""
    return int(item["status"].get("availableReplicas", 0))


def _resize(store: Store, item: Json, size: int, limits: Bounds) -> None:
    item = copy.deepcopy(item)
    if item["spec"]["replicas"] != size:
        item["spec"]["replicas"] = size
        item["metadata"]["generation"] += 1
    if size > 0:
        item["metadata"]["annotations"] |= {DESIRED: str(limits.wanted), MOST: str(limits.most)}
    store.replace(kinds.REPLICA_SETS, item)


def _forget(store: Store, deployment: Json, current: Json) -> None:
    """Remove the oldest empty ReplicaSets beyond revisionHistoryLimit."""
    name = current["metadata"]["name"]
    old = [item for item in store.owned(kinds.REPLICA_SETS, deployment) if item["metadata"]["name"] != name]
    empty = sorted((item for item in old if item["spec"]["replicas"] == 0 and not item["status"].get("replicas")), key=revision_of)
    for item in empty[: max(0, len(old) - deployment["spec"]["revisionHistoryLimit"])]:
        store.delete(kinds.REPLICA_SETS, item)
