"""`kubernetes.scale_statefulset`: set how many Pods a StatefulSet has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action
from stopgap.actions.kubernetes import autoscaler, needs, objects, watching
from stopgap.actions.kubernetes.client import JSON, Client, connect


@action
class ScaleStatefulSet:
    """Set the number of replicas of a StatefulSet, and wait until they are ready. Pods come and go one after the other, the last ones first."""

    name: ClassVar[str] = "kubernetes.scale_statefulset"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=15)
    permissions: ClassVar[Mapping[str, Any]] = {
        "kubernetes": [
            needs.on("apps", "statefulsets", "statefulset", "get", "patch"),
            needs.listing("apps", "statefulsets", optional=needs.NEAR_NAMES),
            needs.listing(
                "autoscaling", autoscaler.PLURAL, optional="an HPA that owns the StatefulSet is not seen, and puts the replicas back"
            ),
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"replicas": "how many replicas are ready", "before": "how many were wanted before"}

    cluster: fields.Cluster
    namespace: fields.Namespace
    statefulset: Annotated[fields.ObjectName, Field(description="The StatefulSet's name.")]
    replicas: Annotated[int, Field(ge=0, le=1000, description="How many replicas there shall be.")]

    def targets(self) -> frozenset[Target]:
        """The StatefulSet."""
        return frozenset({objects.target(cluster=self.cluster, namespace=self.namespace, kind="statefulset", name=self.statefulset)})

    def plan(self, context: Context) -> Change:
        """Read the StatefulSet, refuse one that an HPA owns, and let the server try the change."""
        with connect(context, self.cluster) as api:
            found = self._read(api)
            owner, notes = autoscaler.owner_of(api, self.namespace, self.statefulset, kind="StatefulSet")
            if owner is not None:
                name = owner["metadata"]["name"]
                raise PermanentError(
                    f"{self.statefulset} is owned by the HPA {name}, which would put its replicas back. Use kubernetes.patch_hpa on {name}."
                )
            checked, more = objects.check(api, self._path(), self._patch(api, version=""))
        now = {"replicas": found["spec"].get("replicas", 1)}
        return Change(
            summary=f"{self.statefulset}: {now['replicas']} -> {self.replicas} replicas",
            now=now,
            after={"replicas": self.replicas},
            material=now,
            checked=checked,
            undo=now,
            precondition=found["metadata"]["resourceVersion"],
            notes=(*notes, *more),
            measures={"replicas": self.replicas},
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the number and wait until so many are ready and no other is left."""
        with connect(context, self.cluster) as api:
            if not change.is_empty:
                api.patch(self._path(), self._patch(api, version=change.precondition), dry_run=False)
            seen = watching.until(context, lambda: self._look(self._read(api)), what=self.statefulset)
        data = {"replicas": seen.count, "before": change.undo["replicas"]}
        return Outcome(changed=not change.is_empty, summary=f"{change.summary}; {seen.words}", data=data)

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the StatefulSet, compare its number, then look at its Pods."""
        with connect(context, self.cluster) as api:
            return objects.probe(
                api,
                self._read(api),
                is_ours=lambda it: bool(it["spec"].get("replicas", 1) == self.replicas),
                is_done=lambda it: self._look(it).is_done,
            )

    def undo(self, change: Change) -> Action | None:
        """Scale back to what it was."""
        if change.is_empty:
            return None
        before = int(change.undo["replicas"])
        return ScaleStatefulSet(cluster=self.cluster, namespace=self.namespace, statefulset=self.statefulset, replicas=before)

    def _read(self, api: Client) -> JSON:
        return objects.read(api, "statefulsets", self.namespace, self.statefulset)

    def _path(self) -> str:
        return objects.path_of("statefulsets", self.namespace, self.statefulset)

    def _patch(self, api: Client, *, version: str) -> JSON:
        return {"metadata": objects.marked(api, version=version), "spec": {"replicas": self.replicas}}

    def _look(self, found: JSON) -> watching.Look:
        wanted, status = found["spec"].get("replicas", 1), found.get("status", {})
        if wanted != self.replicas:
            raise PermanentError(
                f"{self.statefulset}: its replicas are {wanted} and not {self.replicas}. Somebody else changed it meanwhile."
            )
        ready, total = status.get("readyReplicas", 0), status.get("replicas", 0)
        seen = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
        return watching.Look(seen and ready == total == wanted, f"{ready} of {wanted} ready, {total} there", ready)
