"""`kubernetes.patch_hpa`: move the limits of a HorizontalPodAutoscaler."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action
from stopgap.actions.kubernetes import needs, objects, watching
from stopgap.actions.kubernetes.autoscaler import PLURAL
from stopgap.actions.kubernetes.client import JSON, Client, connect

Count = Annotated[int | None, Field(ge=1, le=1000)]


@action
class PatchHpa:
    """Move the minimum or maximum of a HorizontalPodAutoscaler, and wait until it wants a number within them."""

    name: ClassVar[str] = "kubernetes.patch_hpa"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=5)
    permissions: ClassVar[Mapping[str, Any]] = {
        "kubernetes": [
            needs.on("autoscaling", PLURAL, "hpa", "get", "patch"),
            needs.listing("autoscaling", PLURAL, optional=needs.NEAR_NAMES),
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"replicas": "how many replicas it wants now"}

    cluster: fields.Cluster
    namespace: fields.Namespace
    hpa: Annotated[fields.ObjectName, Field(description="The HorizontalPodAutoscaler's name.")]
    minimum: Annotated[Count, Field(description="The fewest replicas; stays as it is when left out.")] = None
    maximum: Annotated[Count, Field(description="The most replicas; stays as it is when left out.")] = None

    def __post_init__(self) -> None:
        """Refuse what would change nothing, and a minimum above the maximum."""
        if self.minimum is None and self.maximum is None:
            raise ValueError('give "minimum", "maximum" or both')
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f'"minimum" {self.minimum} is above "maximum" {self.maximum}')

    def targets(self) -> frozenset[Target]:
        """The autoscaler."""
        return frozenset({objects.target(cluster=self.cluster, namespace=self.namespace, kind="hpa", name=self.hpa)})

    def plan(self, context: Context) -> Change:
        """Read the autoscaler, refuse a minimum above its maximum, and let the server try the change."""
        with connect(context, self.cluster) as api:
            found = self._read(api)
            now, after = _limits(found), self._wanted(_limits(found))
            if after["minimum"] > after["maximum"]:
                raise PermanentError(f"{self.hpa}: its minimum would be {after['minimum']}, above its maximum of {after['maximum']}.")
            checked, notes = objects.check(api, self._path(), self._patch(api, after, version=""))
        goal = found["spec"]["scaleTargetRef"]
        return Change(
            summary=f"{self.hpa}: {_show(now)} -> {_show(after)} replicas of {goal['kind']} {goal['name']}",
            now=now,
            after=after,
            material=now,
            checked=checked,
            undo=now,
            precondition=found["metadata"]["resourceVersion"],
            notes=notes,
            measures={"replicas": max(after["minimum"], after["maximum"] if self.maximum is not None else 0)},
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the limits and wait until the autoscaler wants a number within them."""
        with connect(context, self.cluster) as api:
            if not change.is_empty:
                api.patch(self._path(), self._patch(api, change.after, version=change.precondition), dry_run=False)
            seen = watching.until(context, lambda: _look(self._read(api)), what=self.hpa)
        return Outcome(changed=not change.is_empty, summary=f"{change.summary}; {seen.words}", data={"replicas": seen.count})

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the autoscaler, compare its limits, then look at what it wants."""
        with connect(context, self.cluster) as api:
            return objects.probe(api, self._read(api), is_ours=lambda it: _limits(it) == change.after, is_done=lambda it: _look(it).is_done)

    def undo(self, change: Change) -> Action | None:
        """Move the limits back."""
        if change.is_empty:
            return None
        return PatchHpa(
            cluster=self.cluster,
            namespace=self.namespace,
            hpa=self.hpa,
            minimum=change.undo["minimum"],
            maximum=change.undo["maximum"],
        )

    def _read(self, api: Client) -> JSON:
        return objects.read(api, PLURAL, self.namespace, self.hpa)

    def _path(self) -> str:
        return objects.path_of(PLURAL, self.namespace, self.hpa)

    def _wanted(self, now: Mapping[str, int]) -> dict[str, int]:
        given = {"minimum": self.minimum, "maximum": self.maximum}
        return {key: now[key] if value is None else value for key, value in given.items()}

    def _patch(self, api: Client, after: Mapping[str, Any], *, version: str) -> JSON:
        spec = {"minReplicas": after["minimum"], "maxReplicas": after["maximum"]}
        return {"metadata": objects.marked(api, version=version), "spec": spec}


def _limits(found: JSON) -> dict[str, int]:
    return {"minimum": found["spec"].get("minReplicas", 1), "maximum": found["spec"]["maxReplicas"]}


def _look(found: JSON) -> watching.Look:
    limits, status = _limits(found), found.get("status", {})
    wanted = int(status.get("desiredReplicas", 0))
    is_done = limits["minimum"] <= wanted <= limits["maximum"]
    return watching.Look(is_done, f"it wants {wanted} replicas", wanted)


def _show(limits: Mapping[str, int]) -> str:
    return f"{limits['minimum']} to {limits['maximum']}"
