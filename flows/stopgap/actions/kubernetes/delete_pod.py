"""`kubernetes.delete_pod`: replace one Pod."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.contract import (
    Action,
    Change,
    ConflictError,
    Context,
    Effect,
    Outcome,
    PermanentError,
    Probe,
    Risk,
    Target,
    Undoes,
    action,
)
from stopgap.actions.kubernetes import needs, objects, pods, watching
from stopgap.actions.kubernetes.answers import ForbiddenError, NotFoundError
from stopgap.actions.kubernetes.client import JSON, Client, connect

OWNERS = {"ReplicaSet": "replicasets", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
READINESS = "the step ends when the Pod is gone, without waiting for the one that replaces it"


@action
class DeletePod:
    """Delete one Pod, and wait until it is gone and its controller has as many ready Pods as it wants."""

    name: ClassVar[str] = "kubernetes.delete_pod"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=5)
    permissions: ClassVar[Mapping[str, Any]] = {
        "kubernetes": [
            needs.on("", "pods", "pod", "get", "delete"),
            needs.listing("", "pods", optional=READINESS),
            {"apiGroups": ["apps"], "resources": sorted(OWNERS.values()), "verbs": ["get"], "optional": READINESS},
            {
                "apiGroups": ["policy"],
                "resources": ["poddisruptionbudgets"],
                "verbs": ["list"],
                "optional": "the plan does not say that a PodDisruptionBudget would forbid it",
            },
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {}

    cluster: fields.Cluster
    namespace: fields.Namespace
    pod: Annotated[fields.ObjectName, Field(description="The Pod's name.")]
    force: Annotated[bool, Field(description="Delete it although nothing would start it again.")] = False

    def targets(self) -> frozenset[Target]:
        """The Pod."""
        return frozenset({objects.target(cluster=self.cluster, namespace=self.namespace, kind="pod", name=self.pod)})

    def plan(self, context: Context) -> Change:
        """Read the Pod, refuse one that nothing would start again, and let the server try the deletion."""
        with connect(context, self.cluster) as api:
            found = objects.read(api, "pods", self.namespace, self.pod)
            owner = pods.owner_of(found)
            if owner is None and not self.force:
                raise PermanentError(f"Nothing would start {self.pod} again. Give `force: true` to lose it.")
            budgets = pods.blocking_budgets(api, [self.namespace], [found])
            checked, notes = self._check(api, found)
        return Change(
            summary=f"{self.pod}: delete it; {pods.workload_of(found)} starts another" if owner else f"{self.pod}: delete it for good",
            now={"pod": "there"},
            after={"pod": "replaced by another" if owner else "gone"},
            material={"uid": found["metadata"]["uid"]},
            checked=checked,
            undo={"uid": found["metadata"]["uid"], "owner": {key: owner[key] for key in ("kind", "name")} if owner else {}},
            precondition=found["metadata"]["uid"],
            notes=(*(f"{sentence}, and a deletion does not ask it" for sentence in budgets), *notes),
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Delete exactly this Pod, and wait until it is gone and its controller has made up for it."""
        with connect(context, self.cluster) as api:
            try:
                api.delete(self._path(), _options(change.undo["uid"]), dry_run=False)
            except NotFoundError:
                pass  # it went by itself, which is what was wanted
            except ConflictError:
                if self._find(api, change) is not None:
                    raise
            seen = watching.until(context, lambda: self._look(api, change), what=self.pod)
        return Outcome(changed=True, summary=f"{self.pod}: {seen.words}")

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for the Pod by its uid: a Pod that is gone carries no mark, and nobody can bring it back."""
        with connect(context, self.cluster) as api:
            found = self._find(api, change)
            if found is not None:
                return Probe.IN_PROGRESS if pods.is_ending(found) else Probe.NOT_DONE
            return Probe.DONE if self._look(api, change).is_done else Probe.IN_PROGRESS

    def undo(self, change: Change) -> Action | None:
        """The Pod is gone."""
        return None

    def _path(self) -> str:
        return objects.path_of("pods", self.namespace, self.pod)

    def _check(self, api: Client, found: JSON) -> Any:
        try:
            api.delete(self._path(), _options(found["metadata"]["uid"]), dry_run=True)
        except ForbiddenError:
            if not api.access.is_read_only:
                raise
            return "predicted", ("not checked by the server: the read-only credentials of this cluster may not even try it",)
        return "server", ()

    def _find(self, api: Client, change: Change) -> JSON | None:
        try:
            found = api.get(self._path())
        except NotFoundError:
            return None
        return found if found["metadata"]["uid"] == change.undo["uid"] else None

    def _look(self, api: Client, change: Change) -> watching.Look:
        if self._find(api, change) is not None:
            return watching.Look(is_done=False, words="it is still there")
        plural = OWNERS.get(change.undo["owner"].get("kind", ""))
        if plural is None:
            return watching.Look(is_done=True, words="it is gone")
        try:
            owner = api.get(objects.path_of(plural, self.namespace, change.undo["owner"]["name"]))
            siblings = api.get(objects.collection("pods", self.namespace))["items"]
        except (NotFoundError, ForbiddenError):
            return watching.Look(is_done=True, words="it is gone")
        return _made_up(owner, siblings)


def _made_up(owner: JSON, siblings: list[JSON]) -> watching.Look:
    wanted = owner.get("status", {}).get("desiredNumberScheduled", owner["spec"].get("replicas", 1))
    ready = [pod for pod in siblings if (pods.owner_of(pod) or {}).get("uid") == owner["metadata"]["uid"] and pods.is_ready(pod)]
    return watching.Look(len(ready) >= wanted, f"it is gone; {len(ready)} of {wanted} Pods of its controller are ready")


def _options(uid: str) -> JSON:
    return {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
