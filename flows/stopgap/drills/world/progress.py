"""What a Deployment says of itself: counts, and the conditions Available, Progressing and ReplicaFailure.

Source: pkg/controller/deployment (sync.go, progress.go) of Kubernetes 1.20. What is left out: the condition of a paused Deployment.
"""

from __future__ import annotations

import copy
from datetime import datetime
from typing import TYPE_CHECKING

from stopgap.drills.world import kinds, rollout
from stopgap.drills.world.store import stamp

if TYPE_CHECKING:
    from stopgap.drills.world.kinds import Json
    from stopgap.drills.world.store import Store


def report(store: Store, deployment: Json, at: datetime) -> None:
    """Write the Deployment's status from its ReplicaSets."""
    sets = list(store.owned(kinds.REPLICA_SETS, deployment))
    current = rollout.newest(deployment, sets)
    counts = {
        "replicas": sum(item["status"].get("replicas", 0) for item in sets),
        "updatedReplicas": current["status"].get("replicas", 0) if current else 0,
        "readyReplicas": sum(item["status"].get("readyReplicas", 0) for item in sets),
        "availableReplicas": sum(rollout.available(item) for item in sets),
    }
    counts["unavailableReplicas"] = max(0, sum(item["spec"]["replicas"] for item in sets) - counts["availableReplicas"])
    old = deployment.get("status", {})
    item = copy.deepcopy(deployment)
    item["status"] = {"observedGeneration": deployment["metadata"]["generation"], **{key: value for key, value in counts.items() if value}}
    item["status"]["conditions"] = _conditions(item, old, current, sets, stamp(at))
    store.replace(kinds.DEPLOYMENTS, item)


def _conditions(deployment: Json, old: Json, current: Json | None, sets: list[Json], at: str) -> list[Json]:
    status, limits = deployment["status"], rollout.bounds(deployment)
    had = {condition["type"]: condition for condition in old.get("conditions", ())}
    found = [_progressing(deployment, old, had.get("Progressing"), current, at)]
    if status.get("availableReplicas", 0) >= limits.least:
        found.append(condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."))
    else:
        found.append(condition("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."))
    failures = [failure for item in sets for failure in item["status"].get("conditions", ()) if failure["type"] == "ReplicaFailure"]
    if failures:
        found.append(condition("ReplicaFailure", "True", failures[0]["reason"], failures[0]["message"]))
    return [_dated(item, had.get(item["type"]), at) for item in found]


def condition(kind: str, value: str, reason: str, message: str) -> Json:
    """Return a condition without its times."""
    return {"type": kind, "status": value, "reason": reason, "message": message}


def _dated(new: Json, old: Json | None, at: str) -> Json:
    if old and all(old.get(key) == new[key] for key in ("status", "reason", "message")) and "lastUpdateTime" not in new:
        return old
    moved = old["lastTransitionTime"] if old and old["status"] == new["status"] else at
    return {"lastUpdateTime": at, "lastTransitionTime": moved, **new}


def is_complete(deployment: Json) -> bool:
    """Say whether every Pod has the present template and is available."""
    status, wanted = deployment["status"], deployment["spec"]["replicas"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    return counts == [wanted] * 3


def _progressing(deployment: Json, old: Json, had: Json | None, current: Json | None, at: str) -> Json:
    name = f'ReplicaSet "{current["metadata"]["name"]}"' if current else "Deployment"
    done = condition("Progressing", "True", "NewReplicaSetAvailable", f"{name} has successfully progressed.")
    if is_complete(deployment) or (had and had["message"] == done["message"]):
        return done
    keys = ("updatedReplicas", "readyReplicas", "availableReplicas")
    status = deployment["status"]
    has_moved = had is None or any(status.get(key, 0) > old.get(key, 0) for key in keys) or name not in had["message"]
    if has_moved:
        return {**condition("Progressing", "True", "ReplicaSetUpdated", f"{name} is progressing."), "lastUpdateTime": at}
    if had and is_late(deployment, had, at):
        return condition("Progressing", "False", "ProgressDeadlineExceeded", f"{name} has timed out progressing.")
    return dict(had or {})


def is_late(deployment: Json, progressing: Json, at: str) -> bool:
    """Say whether nothing has moved for progressDeadlineSeconds."""
    waited = datetime.fromisoformat(at) - datetime.fromisoformat(progressing["lastUpdateTime"])
    return waited.total_seconds() >= float(deployment["spec"]["progressDeadlineSeconds"])
