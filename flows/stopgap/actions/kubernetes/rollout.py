"""When a Deployment's change is done, and what stands in its way. A rollout is done when its Pods are ready, not when a request was accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stopgap.actions.contract import InDoubtError, PermanentError, TemporaryError
from stopgap.actions.kubernetes import objects
from stopgap.actions.kubernetes.answers import ForbiddenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopgap.actions.kubernetes.client import JSON, Client

GRACE = 3.0  # seconds that an obstacle must last: the first pull may fail, and a quota may become free while old Pods end
SETTLING = 3.0  # seconds to wait for a controller that has not yet seen the latest change
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # seconds between two looks
IMAGE_PROBLEMS = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull")
REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far a Deployment is: `wanted` Pods, how many of them are of the newest template and ready, and all there are, old ones included."""

    wanted: int
    updated: int
    ready: int
    available: int
    total: int
    is_observed: bool

    @property
    def is_done(self) -> bool:
        """Every wanted Pod is of the newest template and available, and no old one is left."""
        return self.is_observed and self.wanted == self.updated == self.total == self.available and self.ready >= self.wanted

    def __str__(self) -> str:
        """Render for people: `3 of 9 ready`."""
        old = f", {self.total - self.updated} old" if self.total > self.updated else ""
        return f"{min(self.ready, self.updated)} of {self.wanted} ready{old}"


def of(deployment: JSON) -> Rollout:
    """Read a Deployment's rollout from its status."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    counts = {key: status.get(f"{key}Replicas", 0) for key in ("updated", "ready", "available")}
    observed = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return Rollout(wanted, **counts, total=status.get("replicas", 0), is_observed=observed)


def settled(api: Client, namespace: str, name: str) -> JSON:
    """Return the Deployment once its controller has seen its latest change: before that, its revision is still that of the one before."""
    ends = api.context.clock.monotonic() + SETTLING
    while not of(found := objects.read(api, "deployments", namespace, name)).is_observed:
        if api.context.clock.monotonic() >= ends:
            raise TemporaryError(f"{name}: the Deployment controller has not seen its latest change yet; what it runs cannot be told.")
        api.context.clock.sleep(FIRST_PAUSE)
    return found


def wait(api: Client, namespace: str, name: str, *, is_ours: Callable[[JSON], str]) -> JSON:
    """Return the Deployment once its rollout is done.

    `is_ours` returns what somebody else changed meanwhile, empty if nothing. PermanentError: it cannot finish, and why.
    InDoubtError: the deadline passed. An API server that is away for a while is waited for.
    """
    clock, pause, obstacle, since = api.context.clock, FIRST_PAUSE, "", 0.0
    seen = "nothing was seen of it yet"
    while True:
        try:
            found = objects.read(api, "deployments", namespace, name)
            now = of(found)
            seen = str(now)
            if disturbed := is_ours(found):
                raise PermanentError(f"{name}: {disturbed}. Somebody else changed it while this step waited ({now}).")
            if now.is_done:
                return found
            before, obstacle = obstacle, _obstacle(api, found) if now.is_observed else ""
            since = since if obstacle and obstacle == before else clock.monotonic()
            if obstacle and clock.monotonic() - since >= GRACE:
                raise PermanentError(f"{name}: {seen}, and it cannot go on: {obstacle}.")
        except TemporaryError as error:
            seen = f"{seen}; then: {error}"[:500]
        if api.context.seconds_left() <= pause:
            raise InDoubtError(f"{name}: the step's deadline passed before the rollout was done ({seen}).")
        clock.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 1.5)


def condition(found: JSON, kind: str) -> JSON:
    """Return the Deployment's condition of this type; an empty one if it has none."""
    conditions: list[JSON] = found.get("status", {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == kind), {})


def _obstacle(api: Client, deployment: JSON) -> str:
    failure, progress = condition(deployment, "ReplicaFailure"), condition(deployment, "Progressing")
    if failure.get("status") == "True":
        return _replica_failure(str(failure.get("message", "")))
    if deployment["spec"].get("paused"):
        return "the Deployment is paused; resume it:  kubectl rollout resume"
    if waiting := _why_pods_wait(api, deployment):
        return waiting
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return f"its progress deadline passed: {progress.get('message', '')}"
    return ""


def _replica_failure(message: str) -> str:
    if "exceeded quota" in message:
        return f"a quota forbids more Pods: {message}"
    return f"its Pods cannot be created: {message}"


def _why_pods_wait(api: Client, deployment: JSON) -> str:
    try:
        return _waiting_container(api, deployment)
    except ForbiddenError:
        return ""  # these credentials may not see Pods: the deadline ends the wait instead


def _waiting_container(api: Client, deployment: JSON) -> str:
    template_hash = _newest_template_hash(api, deployment)
    if not template_hash:
        return ""
    metadata = deployment["metadata"]
    pods = api.get(objects.collection("pods", metadata["namespace"]), labelSelector=f"pod-template-hash={template_hash}")["items"]
    for pod in sorted(pods, key=lambda item: str(item["metadata"]["name"])):
        statuses = pod.get("status", {})
        for container in [*(statuses.get("initContainerStatuses") or ()), *(statuses.get("containerStatuses") or ())]:
            reason = container.get("state", {}).get("waiting", {}).get("reason", "")
            if reason in IMAGE_PROBLEMS:
                return f"the image {container['image']} of container {container['name']} cannot be pulled ({reason})"
            if reason == "CrashLoopBackOff":
                return f"container {container['name']} ({container['image']}) crashes again and again (CrashLoopBackOff)"
    return ""


def _newest_template_hash(api: Client, deployment: JSON) -> str:
    revision = (deployment["metadata"].get("annotations") or {}).get(REVISION)
    for replica_set in replica_sets(api, deployment):
        if replica_set["metadata"]["annotations"].get(REVISION) == revision:
            return str((replica_set["metadata"].get("labels") or {}).get("pod-template-hash", ""))
    return ""


def replica_sets(api: Client, deployment: JSON) -> list[JSON]:
    """Return the Deployment's own ReplicaSets that carry a revision."""
    metadata = deployment["metadata"]
    labels = ",".join(f"{key}={value}" for key, value in (deployment["spec"]["selector"].get("matchLabels") or {}).items())
    query = {"labelSelector": labels} if labels else {}
    found: list[JSON] = api.get(objects.collection("replicasets", metadata["namespace"]), **query)["items"]
    return [
        item
        for item in found
        if any(owner.get("uid") == metadata["uid"] for owner in item["metadata"].get("ownerReferences") or ())
        and REVISION in (item["metadata"].get("annotations") or {})
    ]
