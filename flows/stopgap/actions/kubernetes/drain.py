"""`kubernetes.drain`: empty a Node by evicting its Pods, as their PodDisruptionBudgets allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.contract import (
    Action,
    Change,
    Context,
    Effect,
    InDoubtError,
    Outcome,
    PermanentError,
    Probe,
    Risk,
    Target,
    TemporaryError,
    Undoes,
    action,
)
from stopgap.actions.kubernetes import nodes, objects, pods, watching
from stopgap.actions.kubernetes.answers import NotFoundError
from stopgap.actions.kubernetes.client import JSON, Client, connect

MANY = 5  # workloads that are named; of the others only their number


@action
class Drain:
    """Cordon a Node and evict its Pods, waiting for their PodDisruptionBudgets, until only those of DaemonSets are left."""

    name: ClassVar[str] = "kubernetes.drain"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "depends"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=30)
    permissions: ClassVar[Mapping[str, Any]] = {
        "kubernetes": [
            *nodes.NEEDS,
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"], "scope": "cluster"},
            {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"], "scope": "cluster"},
            {
                "apiGroups": ["policy"],
                "resources": ["poddisruptionbudgets"],
                "verbs": ["list"],
                "scope": "cluster",
                "optional": "the plan does not say which PodDisruptionBudget stands in the way",
            },
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"evicted": "how many Pods were evicted"}

    cluster: fields.Cluster
    node: Annotated[fields.ObjectName, Field(description="The Node's name.")]
    delete_local_data: Annotated[bool, Field(description="Evict Pods with an emptyDir too: its content is lost.")] = False
    force: Annotated[bool, Field(description="Evict Pods that nothing would start again.")] = False

    def targets(self) -> frozenset[Target]:
        """The Node."""
        return nodes.targets(self.cluster, self.node)

    def plan(self, context: Context) -> Change:
        """Read the Node and its Pods, refuse those that would be lost, name the budgets in the way, and let the server try the cordon."""
        with connect(context, self.cluster) as api:
            found, leaving = objects.read(api, "nodes", "", self.node), self._leaving(api)
            if lost := tuple(self._lost(leaving)):
                raise PermanentError(f"{self.node} cannot be drained:\n" + "\n".join(f"  {sentence}" for sentence in lost))
            places = [pod["metadata"]["namespace"] for pod in leaving]
            budgets = pods.blocking_budgets(api, places, leaving)
            checked, notes = objects.check(api, objects.path_of("nodes", "", self.node), nodes.patch(api, is_closed=True, version=""))
        now = {"scheduling": nodes.WORDS[nodes.is_closed(found)], "pods to evict": len(leaving)}
        return Change(
            summary=f"{self.node}: evict {len(leaving)} Pods of {_named(leaving)}",
            now=now,
            after={"scheduling": nodes.WORDS[True], "pods to evict": 0},
            material={"workloads": sorted({pods.workload_of(pod) for pod in leaving})},
            checked=checked,
            undo={"was_closed": nodes.is_closed(found)},
            precondition=found["metadata"]["resourceVersion"],
            notes=(*(f"{sentence}: this waits until it does" for sentence in budgets), *notes),
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Cordon the Node, then evict what is on it, again and again as budgets allow, until nothing is left."""
        gone: set[str] = set()
        with connect(context, self.cluster) as api:
            if not change.is_empty and not self._is_ours(api):
                nodes.send(api, self.node, is_closed=True, version=change.precondition)
            watching.until(context, lambda: self._look(api, gone), what=f"draining {self.node}")
        return Outcome(changed=not change.is_empty, summary=f"{self.node}: drained, {len(gone)} Pods evicted", data={"evicted": len(gone)})

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for this step's mark on the Node, whether it is still cordoned, and which Pods are left.

        NOT_DONE when Pods are left that nobody has evicted: evicting goes on where it was.
        """
        with connect(context, self.cluster) as api:
            found, left = objects.read(api, "nodes", "", self.node), self._leaving(api)
            if objects.is_marked_by_step(api, found) and nodes.is_closed(found):
                return _progress(left)
            return objects.probe(api, found, is_ours=nodes.is_closed)

    def undo(self, change: Change) -> Action | None:
        """Let new Pods come again, if they could before. What was evicted stays where it went."""
        if change.is_empty or change.undo["was_closed"]:
            return None
        return nodes.Uncordon(cluster=self.cluster, node=self.node)

    def _is_ours(self, api: Client) -> bool:
        found = objects.read(api, "nodes", "", self.node)
        return nodes.is_closed(found) and objects.is_marked_by_step(api, found)

    def _leaving(self, api: Client) -> list[JSON]:
        return [pod for pod in pods.on_node(api, self.node) if not pods.stays(pod)]

    def _lost(self, leaving: list[JSON]) -> Iterator[str]:
        for pod in leaving:
            if pods.is_finished(pod):
                continue
            if pods.owner_of(pod) is None and not self.force:
                yield f"nothing would start {pods.name_of(pod)} again; give `force: true` to lose it"
            if pods.has_local_data(pod) and not self.delete_local_data:
                yield f"{pods.name_of(pod)} keeps data in an emptyDir; give `delete_local_data: true` to lose it"

    def _look(self, api: Client, gone: set[str]) -> watching.Look:
        left = self._leaving(api)
        held = [words for pod in left if not pods.is_ending(pod) and (words := _evict(api, pod, gone))]
        words = f"{len(left)} Pods are left" + (f"; {held[0]}" if held else "")
        return watching.Look(not left, words)


def _progress(left: list[JSON]) -> Probe:
    """Say how far the evictions of a cordoned Node are."""
    if not left:
        return Probe.DONE
    return Probe.IN_PROGRESS if all(map(pods.is_ending, left)) else Probe.NOT_DONE


def _evict(api: Client, pod: JSON, gone: set[str]) -> str:
    """Ask for one eviction, for exactly this Pod; return why it was not allowed, empty when it was."""
    metadata = pod["metadata"]
    body = {
        "apiVersion": objects.served(api, "policy").removeprefix("apis/"),
        "kind": "Eviction",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "deleteOptions": {"preconditions": {"uid": metadata["uid"]}},
    }
    path = objects.path_of("pods", metadata["namespace"], metadata["name"])
    try:
        api.post(f"{path}/eviction", body, dry_run=False)
    except NotFoundError:
        return ""
    except InDoubtError as error:  # asked again, an eviction of this very Pod does nothing new
        return str(error)
    except TemporaryError as error:
        return f"{pods.name_of(pod)} may not go yet: {error}"
    gone.add(metadata["uid"])
    return ""


def _named(leaving: list[JSON]) -> str:
    found = sorted({pods.workload_of(pod) for pod in leaving})
    more = f" and {len(found) - MANY} others" if len(found) > MANY else ""
    return (", ".join(found[:MANY]) + more) or "nobody"
