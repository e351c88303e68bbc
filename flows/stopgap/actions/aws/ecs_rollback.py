"""`aws.ecs_rollback`: an ECS service goes back to the task definition that last ran well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.aws import ecs, progress
from stopgap.actions.aws.client import JSON, Api, connect, target
from stopgap.actions.aws.progress import Progress
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action


@action
class EcsRollback:
    """Bring an ECS service back to an earlier task definition, and wait until all its tasks are of that one. Without `task_definition` it is
    the last one that a deployment of this service brought to a good end.
    """

    name: ClassVar[str] = "aws.ecs_rollback"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=15)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "ecs:DescribeServiceRevisions",
            "ecs:DescribeServices",
            "ecs:DescribeTaskDefinition",
            "ecs:ListServiceDeployments",
            "ecs:ListServices",
            "ecs:UpdateService",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"task_definition": "what runs now", "before": "what ran before"}

    account: fields.Account
    ecs_cluster: ecs.EcsCluster
    service: ecs.Service
    task_definition: Annotated[
        str | None, Field(min_length=1, description="family:revision or an ARN; the last one that was stable when left out.")
    ] = None

    def targets(self) -> frozenset[Target]:
        """The service."""
        return frozenset({target(self.account, "ecs", self.ecs_cluster, self.service)})

    def plan(self, context: Context) -> Change:
        """Read the service and its deployments, and say which images would run."""
        with connect(context, self.account) as api:
            found = ecs.service_of(api, self.ecs_cluster, self.service)
            kind = found.get("deploymentController", {}).get("type", "ECS")
            if kind != "ECS":
                raise PermanentError(f"{self.service} is deployed by {kind}, not by ECS itself; roll it back there.")
            before = found["taskDefinition"]
            wanted = self.task_definition or _last_stable(api, found)
            described = [_task_definition(api, each) for each in (before, wanted)]
        now, after = ({"task_definition": _short(each), **_images(each)} for each in described)
        return Change(
            summary=f"{self.service}: {now['task_definition']} -> {after['task_definition']}",
            now=now,
            after=after,
            material=now,
            undo={"task_definition": before, "arn": described[1]["taskDefinitionArn"]},
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the task definition and wait until every task is of it."""
        with connect(context, self.account) as api:
            if not change.is_empty:
                place = {"cluster": self.ecs_cluster, "service": self.service}
                api.send("ecs:UpdateService", repeatable=True, **place, taskDefinition=change.undo["arn"])
            progress.wait(api, lambda: self._progress(api, change), what=self.service)
        data = {"task_definition": change.after["task_definition"], "before": change.now["task_definition"]}
        return Outcome(changed=not change.is_empty, summary=f"{change.summary}; every task runs", data=data)

    def probe(self, context: Context, change: Change) -> Probe:
        """The service's task definition tells; a deployment of the new one that failed is for a human."""
        with connect(context, self.account) as api:
            found = ecs.service_of(api, self.ecs_cluster, self.service)
        current, ours = _name(found["taskDefinition"]), change.after["task_definition"]
        if current == ours:
            return Probe.DONE if ecs.running(found).is_done else Probe.IN_PROGRESS
        tried = any(_name(each["taskDefinition"]) == ours for each in found["deployments"] if each.get("rolloutState") == "FAILED")
        return Probe.NOT_DONE if current == change.now["task_definition"] and not tried else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Go forward again to the task definition that was there."""
        return None if change.is_empty else replace(self, task_definition=change.undo["task_definition"])

    def _progress(self, api: Api, change: Change) -> Progress:
        found = ecs.service_of(api, self.ecs_cluster, self.service)
        current = _name(found["taskDefinition"])
        if current != change.after["task_definition"]:
            return Progress(False, f"it runs {current}", verdict="it was deployed again, by somebody else or by ECS's circuit breaker.")
        return ecs.running(found)


def _last_stable(api: Api, service: JSON) -> str:
    """Return the task definition that last ran well: that of the deployment which a rollout that is not finished replaces, or the newest good one."""
    current = service["taskDefinition"]
    for deployment in service["deployments"]:
        if deployment["status"] == "ACTIVE" and deployment["taskDefinition"] != current and deployment.get("rolloutState") == "COMPLETED":
            return str(deployment["taskDefinition"])
    place = {"cluster": service["clusterArn"], "service": service["serviceArn"]}
    good = api.read("ecs:ListServiceDeployments", **place, status=["SUCCESSFUL"])["serviceDeployments"]
    newest_first = sorted(good, key=lambda each: str(each.get("createdAt", "")), reverse=True)
    arns = [each["targetServiceRevisionArn"] for each in newest_first][:20]
    found = api.read("ecs:DescribeServiceRevisions", serviceRevisionArns=arns)["serviceRevisions"] if arns else []
    definitions = {each["serviceRevisionArn"]: each["taskDefinition"] for each in found}
    for arn in arns:
        if definitions.get(arn, current) != current:
            return str(definitions[arn])
    raise PermanentError(
        f"{service['serviceName']}: ECS knows no earlier deployment that ended well; it runs {_name(current)}.\n"
        f"Name a `task_definition:` if you know one."
    )


def _task_definition(api: Api, name: str) -> JSON:
    found: JSON = api.read("ecs:DescribeTaskDefinition", taskDefinition=name)["taskDefinition"]
    if found["status"] != "ACTIVE":
        raise PermanentError(f"The task definition {_short(found)} is {found['status']}: ECS starts no tasks of it.")
    return found


def _short(definition: JSON) -> str:
    return f"{definition['family']}:{definition['revision']}"


def _name(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def _images(definition: JSON) -> dict[str, str]:
    return {f"image of {each['name']}": each["image"] for each in definition["containerDefinitions"]}
