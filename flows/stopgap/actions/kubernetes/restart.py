"""`kubernetes.restart`: replace every Pod of a Deployment, a few at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap import clock
from stopgap.actions import fields
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, Undoes, action
from stopgap.actions.kubernetes import needs, objects, rollout
from stopgap.actions.kubernetes.client import JSON, Client, connect

RESTARTED = "kubectl.kubernetes.io/restartedAt"  # what `kubectl rollout restart` writes


@action
class Restart:
    """Replace every Pod of a Deployment by a new one, as its strategy allows, and wait until they are ready."""

    name: ClassVar[str] = "kubernetes.restart"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {"kubernetes": needs.ROLLOUT}
    outputs: ClassVar[Mapping[str, str]] = {"replicas": "how many Pods were replaced and are ready"}

    cluster: fields.Cluster
    namespace: fields.Namespace
    deployment: Annotated[fields.ObjectName, Field(description="The Deployment's name.")]

    def targets(self) -> frozenset[Target]:
        """The Deployment."""
        return frozenset({objects.target(cluster=self.cluster, namespace=self.namespace, kind="deployment", name=self.deployment)})

    def plan(self, context: Context) -> Change:
        """Read the Deployment and let the server try the change."""
        with connect(context, self.cluster) as api:
            found = objects.read(api, "deployments", self.namespace, self.deployment)
            checked, notes = objects.check(api, self._path(), self._patch(api, version=""))
        count = found["spec"].get("replicas", 1)
        return Change(
            summary=f"{self.deployment}: replace all {count} Pods, one after the other",
            now={"pods": "as they are"},
            after={"pods": "all replaced by new ones of the same release"},
            material={"template": objects.digest(_release(found))},
            checked=checked,
            precondition=found["metadata"]["resourceVersion"],
            notes=(*notes, *(("it has no Pods now: nothing will be replaced",) if not count else ())),
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Stamp the Pod template, unless this attempt has done so, and wait for the rollout."""
        with connect(context, self.cluster) as api:
            if objects.mark_of(objects.read(api, "deployments", self.namespace, self.deployment)) != context.mark:
                api.patch(self._path(), self._patch(api, version=change.precondition), dry_run=False)
            found = rollout.wait(api, self.namespace, self.deployment, is_ours=lambda _: "")
        ready = found["status"].get("readyReplicas", 0)
        return Outcome(changed=True, summary=f"{self.deployment}: {ready} new Pods are ready", data={"replicas": ready})

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the Deployment, then at the rollout."""
        with connect(context, self.cluster) as api:
            found = objects.read(api, "deployments", self.namespace, self.deployment)
        if objects.mark_of(found) != context.mark:
            return Probe.NOT_DONE
        return Probe.DONE if rollout.of(found).is_done else Probe.IN_PROGRESS

    def undo(self, change: Change) -> Action | None:
        """The old Pods are gone."""
        return None

    def _path(self) -> str:
        return objects.path_of("deployments", self.namespace, self.deployment)

    def _patch(self, api: Client, *, version: str) -> JSON:
        stamp = {RESTARTED: clock.format_time(api.context.clock.now())}
        return {"metadata": objects.marked(api, version=version), "spec": {"template": {"metadata": {"annotations": stamp}}}}


def _release(deployment: JSON) -> JSON:
    spec: JSON = deployment["spec"]["template"]["spec"]
    return spec
