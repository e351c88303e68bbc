"""What a plan refuses, and why a rollout does not end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures_aws import PROD, Canned, Cloud
from fixtures_aws_things import balancer, group, service, settled
from stopgap.actions.aws import progress
from stopgap.actions.aws.alb import AlbShift
from stopgap.actions.aws.autoscaling import AsgScale
from stopgap.actions.aws.ecs import EcsScale
from stopgap.actions.aws.ecs_rollback import EcsRollback
from stopgap.actions.aws.lambdas import LambdaThrottle
from stopgap.actions.contract import PermanentError


def test_traffic_is_not_sent_to_a_group_without_a_healthy_target(cloud: Cloud) -> None:
    admin, listener, arns = balancer(cloud)
    admin.deregister_targets(TargetGroupArn=arns["green"], Targets=[{"Id": "10.0.0.9", "Port": 80}])
    with pytest.raises(
        PermanentError, match=r"^The target group green has no healthy target \(it has no targets\); traffic sent there would"
    ):
        AlbShift(account=PROD, listener=listener, weights={"blue": 50, "green": 50}).plan(cloud.context())


def test_a_group_that_gets_traffic_must_be_named(cloud: Cloud) -> None:
    _, listener, _ = balancer(cloud)
    with pytest.raises(PermanentError, match=r"^These get traffic now and are not named in `weights`: blue \(100\)"):
        AlbShift(account=PROD, listener=listener, weights={"green": 100}).plan(cloud.context())


def test_a_shift_says_the_shares(cloud: Cloud) -> None:
    _, listener, _ = balancer(cloud)
    change = AlbShift(account=PROD, listener=listener, weights={"blue": 10, "green": 90}).plan(cloud.context())
    assert change.summary.endswith(": blue 100% -> 10%, green 0% -> 90%")


def test_no_traffic_at_all_cannot_be_asked_for(cloud: Cloud) -> None:
    _, listener, _ = balancer(cloud)
    with pytest.raises(ValueError, match="every weight is 0; at least one must get traffic"):
        AlbShift(account=PROD, listener=listener, weights={"blue": 0, "green": 0})


def deployments(*found: tuple[str, str, str]) -> Any:
    """Make moto's answer carry these deployments: status, task definition, state."""

    def edit(answer: str) -> str:
        data = json.loads(settled(answer))
        for each in data["services"]:
            base = each["deployments"][0]
            prefix = each["taskDefinition"].rsplit("/", 1)[0]
            each["deployments"] = [
                {**base, "status": status, "taskDefinition": f"{prefix}/{definition}", "rolloutState": state}
                for status, definition, state in found
            ]
        return json.dumps(data)

    return edit


def test_a_rollback_without_a_name_goes_to_what_an_unfinished_rollout_replaces(cloud: Cloud) -> None:
    service(cloud)
    cloud.edits["DescribeServices"] = deployments(("PRIMARY", "web:2", "IN_PROGRESS"), ("ACTIVE", "web:1", "COMPLETED"))
    change = EcsRollback(account=PROD, ecs_cluster="shop", service="web").plan(cloud.context())
    assert change.summary == "web: web:2 -> web:1"
    assert (change.now["image of web"], change.after["image of web"]) == ("shop/web:2", "shop/web:1")


def test_a_rollback_without_a_name_goes_to_the_newest_deployment_that_ended_well(cloud: Cloud) -> None:
    service(cloud)
    made = [{"targetServiceRevisionArn": f"arn:{number}", "status": "SUCCESSFUL", "createdAt": number} for number in (1, 3, 2)]
    cloud.canned["ListServiceDeployments"] = [Canned(json.dumps({"serviceDeployments": made}))]
    ran = [{"serviceRevisionArn": f"arn:{number}", "taskDefinition": definition} for number, definition in ((1, "web:1"), (2, "web:1"))]
    found = cloud.admin("ecs").describe_services(cluster="shop", services=["web"])["services"][0]["taskDefinition"]
    ran.append({"serviceRevisionArn": "arn:3", "taskDefinition": found})
    cloud.canned["DescribeServiceRevisions"] = [Canned(json.dumps({"serviceRevisions": ran}))]
    assert EcsRollback(account=PROD, ecs_cluster="shop", service="web").plan(cloud.context()).after["task_definition"] == "web:1"


def test_a_rollback_with_nothing_to_go_back_to_asks_for_a_name(cloud: Cloud) -> None:
    service(cloud)
    cloud.canned["ListServiceDeployments"] = [Canned('{"serviceDeployments": []}')]
    with pytest.raises(
        PermanentError, match=r"^web: ECS knows no earlier deployment that ended well; it runs web:2\.\nName a `task_definition:`"
    ):
        EcsRollback(account=PROD, ecs_cluster="shop", service="web").plan(cloud.context())


def test_a_deployment_that_failed_ends_in_its_own_reason(cloud: Cloud) -> None:
    service(cloud)
    step = EcsScale(account=PROD, ecs_cluster="shop", service="web", tasks=3)
    change = step.plan(cloud.context())
    cloud.edits["DescribeServices"] = deployments(("PRIMARY", "web:2", "FAILED"))
    with pytest.raises(PermanentError, match=r"^web: 3 of 3 running, and it cannot go on: its deployment failed: "):
        step.apply(cloud.context(), change)


def test_an_instance_that_cannot_be_launched_ends_in_awss_own_message(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "GRACE", 0.1)
    group(cloud)
    step = AsgScale(account=PROD, group="web", instances=3)
    change = step.plan(cloud.context())
    cloud.edits["DescribeAutoScalingGroups"] = lambda answer: answer.replace("InService", "Pending")
    failed = (
        '<DescribeScalingActivitiesResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><DescribeScalingActivitiesResult><Activities>'
        "<member><StatusCode>Failed</StatusCode><StatusMessage>We currently do not have sufficient capacity.</StatusMessage></member>"
        "</Activities></DescribeScalingActivitiesResult></DescribeScalingActivitiesResponse>"
    )
    cloud.canned["DescribeScalingActivities"] = [Canned(failed)]
    with pytest.raises(
        PermanentError, match=r"^web: 0 of 3 in service, and it cannot go on: We currently do not have sufficient capacity\.$"
    ):
        step.apply(cloud.context(), change)


def test_stopping_a_function_is_said_to_the_human(cloud: Cloud) -> None:
    change = LambdaThrottle(account=PROD, function="web", concurrency=0)
    cloud.canned["GET /2019-09-30/functions/web/concurrency"] = [Canned("{}")]
    found = change.plan(cloud.context())
    assert (found.summary, found.notes) == ("web: no limit -> at most 0 at once", ("0 stops the function: every call is refused",))
