"""`aws.ecs_scale`: how many tasks an ECS service has. What both ECS actions share lies here too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.aws import names, progress
from stopgap.actions.aws.client import JSON, Api, connect, target
from stopgap.actions.aws.errors import ForbiddenError, RefusedError
from stopgap.actions.aws.progress import Progress
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action

EcsCluster = Annotated[str, Field(min_length=1, max_length=255, description="The ECS cluster's name.")]
Service = Annotated[str, Field(min_length=1, max_length=255, description="The ECS service's name.")]
_CANNOT = ("unable to place", "unable to consistently start", "was unable to", "failed container health checks", "is unhealthy")


@action
class EcsScale:
    """Set how many tasks an ECS service has, and wait until they run."""

    name: ClassVar[str] = "aws.ecs_scale"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "application-autoscaling:DescribeScalableTargets",
            "ecs:DescribeServices",
            "ecs:ListServices",
            "ecs:UpdateService",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"tasks": "how many tasks run", "before": "how many were wanted before"}

    account: fields.Account
    ecs_cluster: EcsCluster
    service: Service
    tasks: Annotated[int, Field(ge=0, le=10000, description="How many tasks there shall be.")]

    def targets(self) -> frozenset[Target]:
        """The service."""
        return frozenset({target(self.account, "ecs", self.ecs_cluster, self.service)})

    def plan(self, context: Context) -> Change:
        """Read the service, and the bounds of its autoscaling."""
        with connect(context, self.account) as api:
            found = service_of(api, self.ecs_cluster, self.service)
            notes = self._notes(api)
        now = {"tasks": found["desiredCount"]}
        return Change(
            summary=f"{self.service}: {now['tasks']} -> {self.tasks} tasks",
            now=now,
            after={"tasks": self.tasks},
            material=now,
            undo=now,
            measures={"replicas": self.tasks},
            notes=notes,
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the new count and wait until every task runs."""
        with connect(context, self.account) as api:
            if not change.is_empty:
                place = {"cluster": self.ecs_cluster, "service": self.service}
                api.send("ecs:UpdateService", repeatable=True, **place, desiredCount=self.tasks)
            progress.wait(api, lambda: self._progress(api), what=self.service)
        data = {"tasks": self.tasks, "before": change.now["tasks"]}
        return Outcome(changed=not change.is_empty, summary=f"{change.summary}; {self.tasks} running", data=data)

    def probe(self, context: Context, change: Change) -> Probe:
        """The service's own count tells: the new one is ours, the old one means that nothing was sent, another one is somebody else's."""
        with connect(context, self.account) as api:
            wanted = service_of(api, self.ecs_cluster, self.service)["desiredCount"]
            if wanted == self.tasks:
                return Probe.DONE if self._progress(api).is_done else Probe.IN_PROGRESS
        return Probe.NOT_DONE if wanted == change.now["tasks"] else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Go back to the count that was there."""
        return None if change.is_empty else replace(self, tasks=change.undo["tasks"])

    def _progress(self, api: Api) -> Progress:
        found = service_of(api, self.ecs_cluster, self.service)
        if found["desiredCount"] != self.tasks:
            text = f"{found['runningCount']} of {self.tasks} running"
            return Progress(False, text, verdict=f"somebody else set its count to {found['desiredCount']}.")
        return running(found)

    def _notes(self, api: Api) -> tuple[str, ...]:
        resource = f"service/{self.ecs_cluster}/{self.service}"
        try:
            found = api.read("application-autoscaling:DescribeScalableTargets", ServiceNamespace="ecs", ResourceIds=[resource])
        except ForbiddenError:
            return ("these credentials may not read autoscaling: if the service has it, it may change the count again",)
        for bounds in found["ScalableTargets"]:
            least, most = bounds["MinCapacity"], bounds["MaxCapacity"]
            if not least <= self.tasks <= most:
                raise PermanentError(f"{self.service} is scaled by itself between {least} and {most} tasks; {self.tasks} was asked for.")
            return (f"the service is scaled by itself between {least} and {most} tasks, and may change the count again",)
        return ()


def service_of(api: Api, cluster: str, name: str) -> JSON:
    """Read a service; PermanentError names those that are there."""
    try:
        found = api.read("ecs:DescribeServices", cluster=cluster, services=[name])["services"]
    except RefusedError as error:
        if error.code == "ClusterNotFoundException":
            raise PermanentError(f'{api.access.title} has no ECS cluster "{cluster}".') from error
        raise
    for service in found:
        if service["status"] == "ACTIVE":
            return dict(service)
    there = [arn.rsplit("/", 1)[-1] for arn in api.all("ecs:ListServices", "serviceArns", cluster=cluster)]
    raise names.unknown(api, f"service in the ECS cluster {cluster}", name, there)


def running(service: JSON) -> Progress:
    """Tell how far a service is: every wanted task runs, and belongs to the newest deployment."""
    text = f"{service['runningCount']} of {service['desiredCount']} running"
    primary: JSON = next((each for each in service["deployments"] if each["status"] == "PRIMARY"), {})
    if primary.get("rolloutState") == "FAILED":
        return Progress(False, text, verdict=f"its deployment failed: {primary.get('rolloutStateReason', 'no reason was given')}.")
    rolled_out = primary.get("rolloutState", "COMPLETED") == "COMPLETED" and len(service["deployments"]) == 1
    if rolled_out and service["runningCount"] == service["desiredCount"] and not service["pendingCount"]:
        return Progress(True, text)
    latest = next((str(event["message"]) for event in service.get("events", ())[:1]), "")
    return Progress(False, text, obstacle=latest if any(sign in latest for sign in _CANNOT) else "")
