"""Scaling a Deployment that an HPA owns: a manual scale is put back within seconds, so the HPA's minimum moves instead.

autoscaling/v1 is enough for that, and every Kubernetes since 1.2 serves it; the other metrics of a v2 HPA stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.actions.contract import Change, InDoubtError, PermanentError, Probe, TemporaryError
from stopgap.actions.kubernetes import objects, rollout
from stopgap.actions.kubernetes.answers import ForbiddenError

if TYPE_CHECKING:
    from stopgap.actions.kubernetes.client import JSON, Client

PLURAL = "horizontalpodautoscalers"


def owner_of(api: Client, namespace: str, name: str, *, kind: str = "Deployment") -> tuple[JSON | None, tuple[str, ...]]:
    """Return the HPA that owns the object, or None, and notes for the human when that could not be seen."""
    try:
        found: list[JSON] = api.get(objects.collection(PLURAL, namespace))["items"]
    except ForbiddenError:
        return None, (f"these credentials may not list HPAs: if one owns the {kind}, it will put the replicas back",)
    for item in found:
        owned = item["spec"]["scaleTargetRef"]
        if owned["kind"] == kind and owned["name"] == name:
            return item, ()
    return None, ()


def plan(api: Client, owner: JSON, *, deployment: str, replicas: int) -> Change:
    """Plan to move the HPA's minimum; PermanentError when its limits do not allow that."""
    name, spec = owner["metadata"]["name"], owner["spec"]
    if not 1 <= replicas <= spec["maxReplicas"]:
        raise PermanentError(
            f"{deployment} is owned by the HPA {name}, which allows 1 to {spec['maxReplicas']} replicas; {replicas} was asked for.\n"
            f"Ask for another number, or change the HPA's maxReplicas first."
        )
    before, through = spec.get("minReplicas", 1), {"through": f"the minimum of HPA {name}"}
    now = {"replicas": before, **through}
    checked, notes = objects.check(api, _path(owner["metadata"]["namespace"], name), _patch(api, replicas, version=""))
    return Change(
        summary=f"{deployment}: at least {before} -> {replicas} replicas (minimum of HPA {name})",
        now=now,
        after={"replicas": replicas, **through},
        material={**now, "max_replicas": spec["maxReplicas"]},
        checked=checked,
        undo={"replicas": before, "hpa": name},
        precondition=owner["metadata"]["resourceVersion"],
        notes=(f"owned by the HPA {name}: its minimum moves instead of the Deployment's replicas", *notes),
        measures={"replicas": replicas},
    )


def apply(api: Client, namespace: str, change: Change) -> None:
    """Send the HPA's new minimum."""
    if not change.is_empty:
        body = _patch(api, change.after["replicas"], version=change.precondition)
        api.patch(_path(namespace, change.undo["hpa"]), body, dry_run=False)


def wait(api: Client, namespace: str, deployment: str, *, minimum: int) -> JSON:
    """Wait until the HPA has moved the Deployment to its minimum, then for the rollout; the HPA may want more."""
    while True:
        found = rollout.wait(api, namespace, deployment, is_ours=lambda _: "")
        if found["spec"].get("replicas", 1) >= minimum:
            return found
        if api.context.seconds_left() <= rollout.LONGEST_PAUSE:
            raise InDoubtError(f"{deployment}: the HPA has not moved it to {minimum} replicas before the step's deadline.")
        api.context.clock.sleep(rollout.LONGEST_PAUSE)


def probe(api: Client, namespace: str, change: Change, *, deployment: str) -> Probe:
    """Look for our mark on the HPA, then at the Deployment's rollout."""
    hpa = objects.read(api, PLURAL, namespace, change.undo["hpa"])
    if objects.mark_of(hpa) != api.context.mark:
        return Probe.NOT_DONE
    if hpa["spec"].get("minReplicas", 1) != change.after["replicas"]:
        return Probe.UNKNOWN
    try:
        found = objects.read(api, "deployments", namespace, deployment)
    except TemporaryError:
        return Probe.IN_PROGRESS
    enough = found["spec"].get("replicas", 1) >= change.after["replicas"]
    return Probe.DONE if enough and rollout.of(found).is_done else Probe.IN_PROGRESS


def _path(namespace: str, name: str) -> str:
    return objects.path_of(PLURAL, namespace, name)


def _patch(api: Client, minimum: int, *, version: str) -> JSON:
    return {"metadata": objects.marked(api, version=version), "spec": {"minReplicas": minimum}}
