"""`kubernetes.scale`: set how many Pods a Deployment has, through its HPA's minimum when one owns it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, Undoes, action
from stopgap.actions.kubernetes import autoscaler, needs, objects, rollout
from stopgap.actions.kubernetes.client import JSON, Client, connect


@action
class Scale:
    """Set the number of replicas of a Deployment, and wait until they are ready. If an HPA owns it, the HPA's minimum moves instead."""

    name: ClassVar[str] = "kubernetes.scale"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=5)
    permissions: ClassVar[Mapping[str, Any]] = {
        "kubernetes": [
            *needs.ROLLOUT,
            {
                "apiGroups": ["autoscaling"],
                "resources": [autoscaler.PLURAL],
                "verbs": ["get", "list", "patch"],
                "optional": "an HPA that owns the Deployment is not seen, and puts the replicas back",
            },
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"replicas": "how many replicas are ready", "before": "how many were wanted before"}

    cluster: fields.Cluster
    namespace: fields.Namespace
    deployment: Annotated[fields.ObjectName, Field(description="The Deployment's name.")]
    replicas: Annotated[int, Field(ge=0, le=1000, description="How many replicas there shall be.")]

    def targets(self) -> frozenset[Target]:
        """The Deployment."""
        return frozenset({objects.target(cluster=self.cluster, namespace=self.namespace, kind="deployment", name=self.deployment)})

    def plan(self, context: Context) -> Change:
        """Read the Deployment and its HPA, and let the server try the change."""
        with connect(context, self.cluster) as api:
            found = objects.read(api, "deployments", self.namespace, self.deployment)
            owner, notes = autoscaler.owner_of(api, self.namespace, self.deployment)
            if owner is not None:
                return autoscaler.plan(api, owner, deployment=self.deployment, replicas=self.replicas)
            now = {"replicas": found["spec"].get("replicas", 1)}
            checked, more = objects.check(api, self._path(), self._patch(api, version=""))
        return Change(
            summary=f"{self.deployment}: {now['replicas']} -> {self.replicas} replicas",
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
        """Send the change and wait until every replica is ready."""
        with connect(context, self.cluster) as api:
            if "hpa" in change.undo:
                autoscaler.apply(api, self.namespace, change)
                found = autoscaler.wait(api, self.namespace, self.deployment, minimum=self.replicas)
            else:
                if not change.is_empty:
                    api.patch(self._path(), self._patch(api, version=change.precondition), dry_run=False)
                found = rollout.wait(api, self.namespace, self.deployment, is_ours=self._disturbed)
        ready = found["status"].get("readyReplicas", 0)
        data = {"replicas": ready, "before": change.undo["replicas"]}
        return Outcome(changed=not change.is_empty, summary=f"{change.summary}; {ready} ready", data=data)

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the Deployment (or its HPA), then at the rollout."""
        with connect(context, self.cluster) as api:
            if "hpa" in change.undo:
                return autoscaler.probe(api, self.namespace, change, deployment=self.deployment)
            found = objects.read(api, "deployments", self.namespace, self.deployment)
        if objects.mark_of(found) != context.mark:
            return Probe.NOT_DONE
        if self._disturbed(found):
            return Probe.UNKNOWN  # it was ours, and somebody has changed it since
        return Probe.DONE if rollout.of(found).is_done else Probe.IN_PROGRESS

    def undo(self, change: Change) -> Action | None:
        """Scale back to what it was."""
        if change.is_empty:
            return None
        before = int(change.undo["replicas"])
        return Scale(cluster=self.cluster, namespace=self.namespace, deployment=self.deployment, replicas=before)

    def _path(self) -> str:
        return objects.path_of("deployments", self.namespace, self.deployment)

    def _patch(self, api: Client, *, version: str) -> JSON:
        return {"metadata": objects.marked(api, version=version), "spec": {"replicas": self.replicas}}

    def _disturbed(self, found: JSON) -> str:
        wanted = found["spec"].get("replicas", 1)
        return "" if wanted == self.replicas else f"its replicas are {wanted} and not {self.replicas}"
