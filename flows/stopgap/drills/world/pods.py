"""The ReplicaSet controller and the kubelet: Pods come, get ready or fail as their image says, and go."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from stopgap.drills.world import kinds, progress, rollout
from stopgap.drills.world.store import stamp

if TYPE_CHECKING:
    from stopgap.drills.world.kinds import Json
    from stopgap.drills.world.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things take in the sandbox. A Pod is ready after `ready`, one whose image says slow after `slow`, and gone after `gone`.

    Controllers see a write after `lag`; the autoscaler looks every `autoscaler`.
    """

    ready: timedelta = timedelta(seconds=0.5)
    slow: timedelta = timedelta(seconds=3)
    gone: timedelta = timedelta(seconds=0.5)
    lag: timedelta = timedelta(seconds=0.03)
    autoscaler: timedelta = timedelta(seconds=1)


def fate(images: list[str]) -> str:
    """Return why a Pod with these images never gets ready; empty when it does."""
    if any("broken" in image or image.endswith(":bad") for image in images):
        return "ImagePullBackOff"
    return "CrashLoopBackOff" if any("crash" in image for image in images) else ""


def images_of(pod: Json) -> list[str]:
    """Return the images of a Pod's or a template's containers."""
    return [container["image"] for container in pod["spec"]["containers"]]


def is_ready(pod: Json) -> bool:
    """Say whether a Pod is ready and not on its way out."""
    conditions = pod["status"].get("conditions", ())
    return not is_leaving(pod) and any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def is_leaving(pod: Json) -> bool:
    """Say whether a Pod is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def sync(store: Store, replica_set: Json, at: datetime, pace: Pace) -> None:
    """Create or delete Pods until the ReplicaSet has as many as it asks for, and write its status."""
    present = [pod for pod in store.owned(kinds.PODS, replica_set) if not is_leaving(pod)]
    missing = replica_set["spec"]["replicas"] - len(present)
    failure = ""
    for _ in range(missing):
        failure = _over_quota(store, replica_set)
        if failure:
            break
        _create(store, replica_set, at, pace)
    # The newest that is not ready goes first, as in Kubernetes.
    ordered = sorted(present, key=lambda pod: (is_ready(pod), [-ord(letter) for letter in pod["metadata"]["creationTimestamp"]]))
    for pod in ordered[: max(0, -missing)]:
        leave(store, pod, at, pace)
    _report(store, replica_set, failure, at)


def _over_quota(store: Store, replica_set: Json) -> str:
    namespace = replica_set["metadata"]["namespace"]
    used = sum(not is_leaving(pod) for pod in store.list(kinds.PODS, namespace))
    for quota in store.list(kinds.QUOTAS, namespace):
        most = quota.get("spec", {}).get("hard", {}).get("pods")
        if most is not None and used >= int(most):
            name = f"{replica_set['metadata']['name']}-{_suffix(store)}"
            quota_name = quota["metadata"]["name"]
            return f'pods "{name}" is forbidden: exceeded quota: {quota_name}, requested: pods=1, used: pods={used}, limited: pods={most}'
    return ""


def _suffix(store: Store) -> str:
    return hashlib.sha256(str(store.version).encode()).hexdigest()[:5]


def _create(store: Store, replica_set: Json, at: datetime, pace: Pace) -> None:
    template, metadata = replica_set["spec"]["template"], replica_set["metadata"]
    reason = fate(images_of(template))
    name = f"{metadata['name']}-{_suffix(store)}"
    pod = {
        "metadata": {
            "name": name,
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": dict(template["metadata"].get("annotations") or {}),
            "ownerReferences": [rollout.owner_reference(kinds.REPLICA_SETS, replica_set)],
        },
        "spec": {**copy.deepcopy(template["spec"]), "nodeName": "node-a"},
        "status": _status(template, reason, stamp(at), is_up=False),
    }
    made = store.create(kinds.PODS, pod, at)
    if not reason:
        is_slow = any("slow" in image for image in images_of(template))
        set_due(store, made, at + (pace.slow if is_slow else pace.ready))


def set_due(store: Store, pod: Json, when: datetime) -> None:
    """Note when a Pod's next turn comes: it gets ready, or it is gone."""
    store.due[pod["metadata"]["namespace"], pod["metadata"]["name"]] = when


def _status(pod: Json, reason: str, at: str, *, is_up: bool) -> Json:
    waiting = {"waiting": {"reason": reason or "ContainerCreating"}}
    state = {"running": {"startedAt": at}} if is_up else waiting
    containers = [
        {"name": item["name"], "image": item["image"], "imageID": "", "ready": is_up, "started": is_up, "restartCount": 0, "state": state}
        for item in pod["spec"]["containers"]
    ]
    value = "True" if is_up else "False"
    conditions = [
        {"type": kind, "status": "True" if kind == "Initialized" else value, "lastTransitionTime": at}
        for kind in ("Initialized", "Ready", "ContainersReady")
    ]
    return {"phase": "Running" if is_up else "Pending", "startTime": at, "conditions": conditions, "containerStatuses": containers}


def leave(store: Store, pod: Json, at: datetime, pace: Pace) -> Json:
    """Begin a Pod's end; it is gone a little later."""
    item = copy.deepcopy(pod)
    item["metadata"] |= {"deletionTimestamp": stamp(at + pace.gone), "deletionGracePeriodSeconds": 30}
    set_due(store, item, at + pace.gone)
    return store.replace(kinds.PODS, item)


def take_turn(store: Store, pod: Json, at: datetime) -> None:
    """Do what was due for a Pod: remove it, or let it get ready."""
    if is_leaving(pod):
        store.delete(kinds.PODS, pod)
        return
    item = copy.deepcopy(pod)
    item["status"] = _status(item, "", stamp(at), is_up=True)
    digest = hashlib.sha256(item["metadata"]["uid"].encode()).digest()
    item["status"]["podIP"] = f"10.77.{digest[0]}.{digest[1] % 254 + 1}"
    store.replace(kinds.PODS, item)


def _report(store: Store, replica_set: Json, failure: str, at: datetime) -> None:
    pods = [pod for pod in store.owned(kinds.PODS, replica_set) if not is_leaving(pod)]
    ready = sum(is_ready(pod) for pod in pods)
    item = copy.deepcopy(replica_set)
    item["status"] = {"replicas": len(pods), "observedGeneration": item["metadata"]["generation"]}
    if pods:
        item["status"]["fullyLabeledReplicas"] = len(pods)
    if ready:
        item["status"] |= {"readyReplicas": ready, "availableReplicas": ready}
    if failure:
        old = next(iter(replica_set["status"].get("conditions", ())), None)
        new = progress.condition("ReplicaFailure", "True", "FailedCreate", failure)
        item["status"]["conditions"] = [old or {**new, "lastTransitionTime": stamp(at)}]
    store.replace(kinds.REPLICA_SETS, item)
