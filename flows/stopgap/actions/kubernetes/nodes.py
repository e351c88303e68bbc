"""`kubernetes.cordon` and `kubernetes.uncordon`: whether new Pods may come to a Node. What all actions on Nodes share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, Undoes, action
from stopgap.actions.kubernetes import objects
from stopgap.actions.kubernetes.client import JSON, Client, connect

if TYPE_CHECKING:
    from stopgap.policy.model import ClusterName

WORDS = {False: "new Pods may come", True: "no new Pods"}
NEEDS = [
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"], "resourceNames": ["{node}"], "scope": "cluster"},
    {
        "apiGroups": [""],
        "resources": ["nodes"],
        "verbs": ["list"],
        "scope": "cluster",
        "optional": "a wrong name is answered without the near ones",
    },
]


@action
class Cordon:
    """Let no new Pods come to a Node. Those that are there stay."""

    name: ClassVar[str] = "kubernetes.cordon"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = {"kubernetes": NEEDS}
    outputs: ClassVar[Mapping[str, str]] = {}

    cluster: fields.Cluster
    node: Annotated[fields.ObjectName, Field(description="The Node's name.")]

    def targets(self) -> frozenset[Target]:
        """The Node."""
        return targets(self.cluster, self.node)

    def plan(self, context: Context) -> Change:
        """Read the Node and let the server try the change."""
        return _plan(context, self, is_closed=True)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send it."""
        with connect(context, self.cluster) as api:
            if not change.is_empty:
                send(api, self.node, is_closed=True, version=change.precondition)
        return Outcome(changed=not change.is_empty, summary=f"{self.node}: {WORDS[True]}")

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the Node, and whether it is still cordoned."""
        with connect(context, self.cluster) as api:
            return objects.probe(api, objects.read(api, "nodes", "", self.node), is_ours=is_closed)

    def undo(self, change: Change) -> Action | None:
        """Let new Pods come again."""
        return None if change.is_empty else Uncordon(cluster=self.cluster, node=self.node)


@action
class Uncordon:
    """Let new Pods come to a Node again."""

    name: ClassVar[str] = "kubernetes.uncordon"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = {"kubernetes": NEEDS}
    outputs: ClassVar[Mapping[str, str]] = {}

    cluster: fields.Cluster
    node: Annotated[fields.ObjectName, Field(description="The Node's name.")]

    def targets(self) -> frozenset[Target]:
        """The Node."""
        return targets(self.cluster, self.node)

    def plan(self, context: Context) -> Change:
        """Read the Node and let the server try the change."""
        return _plan(context, self, is_closed=False)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send it."""
        with connect(context, self.cluster) as api:
            if not change.is_empty:
                send(api, self.node, is_closed=False, version=change.precondition)
        return Outcome(changed=not change.is_empty, summary=f"{self.node}: {WORDS[False]}")

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the Node, and whether it is still not cordoned."""
        with connect(context, self.cluster) as api:
            return objects.probe(api, objects.read(api, "nodes", "", self.node), is_ours=lambda it: not is_closed(it))

    def undo(self, change: Change) -> Action | None:
        """Let no new Pods come again."""
        return None if change.is_empty else Cordon(cluster=self.cluster, node=self.node)


def targets(cluster: ClusterName, node: str) -> frozenset[Target]:
    """Return the name under which runs lock the Node."""
    return frozenset({objects.target(cluster=cluster, namespace="", kind="node", name=node)})


def is_closed(found: JSON) -> bool:
    """No new Pods come to this Node."""
    return bool(found["spec"].get("unschedulable"))


def send(api: Client, node: str, *, is_closed: bool, version: str) -> None:
    """Cordon the Node, or open it again, with our mark."""
    api.patch(objects.path_of("nodes", "", node), patch(api, is_closed=is_closed, version=version), dry_run=False)


def patch(api: Client, *, is_closed: bool, version: str) -> JSON:
    """Return the patch that cordons a Node, or opens it again."""
    return {"metadata": objects.marked(api, version=version), "spec": {"unschedulable": is_closed or None}}


def _plan(context: Context, step: Cordon | Uncordon, *, is_closed: bool) -> Change:
    with connect(context, step.cluster) as api:
        found = objects.read(api, "nodes", "", step.node)
        checked, notes = objects.check(api, objects.path_of("nodes", "", step.node), patch(api, is_closed=is_closed, version=""))
    now = {"scheduling": WORDS[bool(found["spec"].get("unschedulable"))]}
    return Change(
        summary=f"{step.node}: {now['scheduling']} -> {WORDS[is_closed]}",
        now=now,
        after={"scheduling": WORDS[is_closed]},
        material=now,
        checked=checked,
        precondition=found["metadata"]["resourceVersion"],
        notes=notes,
    )
