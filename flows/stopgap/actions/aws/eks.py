"""`aws.eks_nodegroup_scale`: how many nodes a managed node group has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.aws import names, progress
from stopgap.actions.aws.client import JSON, Api, connect, target, token
from stopgap.actions.aws.errors import RefusedError
from stopgap.actions.aws.progress import Progress
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action


@action
class EksNodegroupScale:
    """Set how many nodes a managed node group of EKS has, and wait until EKS says it is done. It never goes beyond the group's maximum
    unless `maximum` moves that too.
    """

    name: ClassVar[str] = "aws.eks_nodegroup_scale"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=20)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "eks:DescribeNodegroup",
            "eks:ListNodegroups",
            "eks:UpdateNodegroupConfig",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"nodes": "how many nodes there shall be", "before": "how many there should have been before"}

    account: fields.Account
    eks_cluster: Annotated[str, Field(pattern=r"^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$", description="The EKS cluster's name.")]
    nodegroup: Annotated[str, Field(min_length=1, max_length=63, description="The node group's name.")]
    nodes: Annotated[int, Field(ge=0, le=1000, description="How many nodes there shall be.")]
    maximum: Annotated[int | None, Field(ge=1, le=1000, description="The group's new maximum, if that shall change too.")] = None

    def targets(self) -> frozenset[Target]:
        """The node group."""
        return frozenset({target(self.account, "eks", self.eks_cluster, self.nodegroup)})

    def plan(self, context: Context) -> Change:
        """Read the node group and its bounds."""
        with connect(context, self.account) as api:
            found = self._group(api)
        sizes = found["scalingConfig"]
        now = {"nodes": sizes["desiredSize"], "maximum": sizes["maxSize"]}
        after = {"nodes": self.nodes, "maximum": sizes["maxSize"] if self.maximum is None else self.maximum}
        if not sizes["minSize"] <= self.nodes <= after["maximum"]:
            hint = f"\nSet `maximum: {self.nodes}` if the group shall grow beyond it." if self.nodes > after["maximum"] else ""
            raise PermanentError(
                f"{self.nodegroup} allows {sizes['minSize']} to {after['maximum']} nodes; {self.nodes} was asked for.{hint}"
            )
        moved = f", maximum {now['maximum']} -> {after['maximum']}" if now["maximum"] != after["maximum"] else ""
        note = "if a cluster autoscaler runs, it may change the number again"
        summary, measures = f"{self.nodegroup}: {now['nodes']} -> {self.nodes} nodes{moved}", {"replicas": self.nodes}
        return Change(summary=summary, now=now, after=after, material=now, undo=now, measures=measures, notes=(note,))

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the new size, with a client token, and wait until the node group is active again."""
        with connect(context, self.account) as api:
            if not change.is_empty:
                sizes = {"desiredSize": self.nodes, "maxSize": change.after["maximum"]}
                group = {"clusterName": self.eks_cluster, "nodegroupName": self.nodegroup}
                api.send("eks:UpdateNodegroupConfig", repeatable=True, **group, scalingConfig=sizes, clientRequestToken=token(context))
            progress.wait(api, lambda: self._progress(api), what=self.nodegroup)
        data = {"nodes": self.nodes, "before": change.now["nodes"]}
        return Outcome(changed=not change.is_empty, summary=change.summary, data=data)

    def probe(self, context: Context, change: Change) -> Probe:
        """The group's own size tells: the new one is ours, the old one means that nothing was sent, another one is somebody else's."""
        with connect(context, self.account) as api:
            found = self._group(api)
        sizes = {"nodes": found["scalingConfig"]["desiredSize"], "maximum": found["scalingConfig"]["maxSize"]}
        if sizes == dict(change.after):
            return Probe.DONE if found["status"] == "ACTIVE" else Probe.IN_PROGRESS
        return Probe.NOT_DONE if sizes == dict(change.now) else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Go back to the size, and the maximum, that were there."""
        if change.is_empty:
            return None
        maximum = change.undo["maximum"] if change.undo["maximum"] != change.after["maximum"] else None
        return replace(self, nodes=change.undo["nodes"], maximum=maximum)

    def _group(self, api: Api) -> JSON:
        group = {"clusterName": self.eks_cluster, "nodegroupName": self.nodegroup}
        try:
            found: JSON = api.read("eks:DescribeNodegroup", **group)["nodegroup"]
        except RefusedError as error:
            if error.code != "ResourceNotFoundException":
                raise
            there = api.all("eks:ListNodegroups", "nodegroups", clusterName=self.eks_cluster)
            raise names.unknown(api, f"node group in the EKS cluster {self.eks_cluster}", self.nodegroup, there) from error
        return found

    def _progress(self, api: Api) -> Progress:
        found = self._group(api)
        issues = [f"{each['code']}: {each.get('message', '')}" for each in found.get("health", {}).get("issues", ())]
        text = f"{found['status'].lower()}, {found['scalingConfig']['desiredSize']} nodes wanted"
        if found["status"] == "DEGRADED":
            return Progress(False, text, obstacle="; ".join(issues) or "EKS calls it degraded")
        return Progress(found["status"] == "ACTIVE" and found["scalingConfig"]["desiredSize"] == self.nodes, text)
