"""`aws.asg_scale`: how many instances an Auto Scaling group has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.aws import names, progress
from stopgap.actions.aws.client import JSON, Api, connect, target
from stopgap.actions.aws.errors import ForbiddenError
from stopgap.actions.aws.progress import Progress
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action

Group = Annotated[str, Field(min_length=1, max_length=255, description="The Auto Scaling group's name.")]


@action
class AsgScale:
    """Set how many instances an Auto Scaling group has, and wait until they are in service. It never goes beyond the group's MaxSize
    unless `maximum` moves that too.
    """

    name: ClassVar[str] = "aws.asg_scale"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "autoscaling:DescribeAutoScalingGroups",
            "autoscaling:DescribePolicies",
            "autoscaling:DescribeScalingActivities",
            "autoscaling:SetDesiredCapacity",
            "autoscaling:UpdateAutoScalingGroup",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"instances": "how many instances are in service", "before": "how many were wanted before"}

    account: fields.Account
    group: Group
    instances: Annotated[int, Field(ge=0, le=10000, description="How many instances there shall be.")]
    maximum: Annotated[int | None, Field(ge=0, le=10000, description="The group's new MaxSize, if that shall change too.")] = None

    def targets(self) -> frozenset[Target]:
        """The group."""
        return frozenset({target(self.account, "autoscaling", self.group)})

    def plan(self, context: Context) -> Change:
        """Read the group, its bounds and its scaling policies."""
        with connect(context, self.account) as api:
            found = group_of(api, self.group)
            notes = _notes(api, found)
        now = {"instances": found["DesiredCapacity"], "maximum": found["MaxSize"]}
        after = {"instances": self.instances, "maximum": found["MaxSize"] if self.maximum is None else self.maximum}
        self._refuse_beyond(found, after["maximum"])
        moved = f", MaxSize {now['maximum']} -> {after['maximum']}" if now["maximum"] != after["maximum"] else ""
        return Change(
            summary=f"{self.group}: {now['instances']} -> {self.instances} instances{moved}",
            now=now,
            after=after,
            material=now,
            undo=now,
            measures={"replicas": self.instances},
            notes=notes,
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the new size and wait until every instance is in service."""
        with connect(context, self.account) as api:
            if change.after["maximum"] != change.now["maximum"]:
                sizes = {"MaxSize": change.after["maximum"], "DesiredCapacity": self.instances}
                api.send("autoscaling:UpdateAutoScalingGroup", repeatable=True, AutoScalingGroupName=self.group, **sizes)
            elif not change.is_empty:
                size = {"DesiredCapacity": self.instances, "HonorCooldown": False}
                api.send("autoscaling:SetDesiredCapacity", repeatable=True, AutoScalingGroupName=self.group, **size)
            progress.wait(api, lambda: self._progress(api), what=self.group)
        data = {"instances": self.instances, "before": change.now["instances"]}
        return Outcome(changed=not change.is_empty, summary=f"{change.summary}; {self.instances} in service", data=data)

    def probe(self, context: Context, change: Change) -> Probe:
        """The group's own size tells: the new one is ours, the old one means that nothing was sent, another one is somebody else's."""
        with connect(context, self.account) as api:
            found = group_of(api, self.group)
            sizes = {"instances": found["DesiredCapacity"], "maximum": found["MaxSize"]}
            if sizes == dict(change.after):
                return Probe.DONE if self._progress(api).is_done else Probe.IN_PROGRESS
        return Probe.NOT_DONE if sizes == dict(change.now) else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Go back to the size, and the MaxSize, that were there."""
        if change.is_empty:
            return None
        maximum = change.undo["maximum"] if change.undo["maximum"] != change.after["maximum"] else None
        return replace(self, instances=change.undo["instances"], maximum=maximum)

    def _refuse_beyond(self, found: JSON, maximum: int) -> None:
        if found["MinSize"] <= self.instances <= maximum:
            return
        hint = f"\nSet `maximum: {self.instances}` if the group shall grow beyond it." if self.instances > maximum else ""
        raise PermanentError(
            f"{self.group} allows {found['MinSize']} to {maximum} instances (MinSize, MaxSize); {self.instances} was asked for.{hint}"
        )

    def _progress(self, api: Api) -> Progress:
        found = group_of(api, self.group)
        ready = [each for each in found["Instances"] if each["LifecycleState"] == "InService" and each["HealthStatus"] == "Healthy"]
        text = f"{len(ready)} of {self.instances} in service"
        if found["DesiredCapacity"] != self.instances:
            return Progress(False, text, verdict=f"somebody else set its size to {found['DesiredCapacity']}.")
        if len(ready) == self.instances == len(found["Instances"]):
            return Progress(True, text)
        return Progress(False, text, obstacle=_obstacle(api, self.group))


def group_of(api: Api, name: str) -> JSON:
    """Read a group; PermanentError names those that are there."""
    found = api.read("autoscaling:DescribeAutoScalingGroups", AutoScalingGroupNames=[name])["AutoScalingGroups"]
    if found:
        group: JSON = found[0]
        return group
    there = [each["AutoScalingGroupName"] for each in api.all("autoscaling:DescribeAutoScalingGroups", "AutoScalingGroups")]
    raise names.unknown(api, "Auto Scaling group", name, there)


def _notes(api: Api, found: JSON) -> tuple[str, ...]:
    suspended = {each["ProcessName"] for each in found.get("SuspendedProcesses", ())} & {"Launch", "Terminate"}
    notes = [f"the process {process} of the group is suspended: it will not do it" for process in sorted(suspended)]
    try:
        policies = api.read("autoscaling:DescribePolicies", AutoScalingGroupName=found["AutoScalingGroupName"])["ScalingPolicies"]
    except ForbiddenError:
        return (*notes, "these credentials may not read scaling policies: if the group has one, it may change the size again")
    return (*notes, *(f"the scaling policy {each['PolicyName']} may change the size again" for each in policies))


def _obstacle(api: Api, group: str) -> str:
    try:
        activities = api.read("autoscaling:DescribeScalingActivities", AutoScalingGroupName=group, MaxRecords=5)["Activities"]
    except ForbiddenError:
        return ""  # the deadline ends the wait instead
    latest = activities[0] if activities else {}
    return f"{latest.get('StatusMessage', '')}" if latest.get("StatusCode") in {"Failed", "Cancelled"} else ""
