"""`aws.asg_scale` on a moto server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures_aws import PROD, Cloud
from stopgap.actions.aws.autoscaling import AsgScale
from stopgap.actions.contract import InDoubtError, PermanentError, Probe

if TYPE_CHECKING:
    from typing import Any


@pytest.fixture
def asg(cloud: Cloud) -> Any:
    admin = cloud.admin("autoscaling")
    admin.create_launch_configuration(LaunchConfigurationName="web", ImageId="ami-12c6146b", InstanceType="t3.micro")
    sizes = {"MinSize": 1, "MaxSize": 4, "DesiredCapacity": 2}
    admin.create_auto_scaling_group(AutoScalingGroupName="web", LaunchConfigurationName="web", AvailabilityZones=["eu-west-1a"], **sizes)
    return admin


def sizes(admin: Any) -> tuple[int, int]:
    found = admin.describe_auto_scaling_groups(AutoScalingGroupNames=["web"])["AutoScalingGroups"][0]
    return found["DesiredCapacity"], found["MaxSize"]


def scale(instances: int, **more: Any) -> AsgScale:
    return AsgScale(account=PROD, group="web", instances=instances, **more)


def test_scaling_ends_when_every_instance_is_in_service(asg: Any, cloud: Cloud) -> None:
    context, step = cloud.context(), scale(3)
    change = step.plan(context)
    assert (change.summary, dict(change.now), dict(change.after)) == (
        "web: 2 -> 3 instances",
        {"instances": 2, "maximum": 4},
        {"instances": 3, "maximum": 4},
    )
    assert step.probe(context, change) is Probe.NOT_DONE
    outcome = step.apply(context, change)
    assert (outcome.changed, outcome.summary, dict(outcome.data)) == (
        True,
        "web: 2 -> 3 instances; 3 in service",
        {"instances": 3, "before": 2},
    )
    assert (sizes(asg), step.probe(context, change)) == ((3, 4), Probe.DONE)


def test_more_than_the_maximum_is_refused_unless_asked(asg: Any, cloud: Cloud) -> None:
    with pytest.raises(PermanentError) as caught:
        scale(6).plan(cloud.context())
    assert str(caught.value) == (
        "web allows 1 to 4 instances (MinSize, MaxSize); 6 was asked for.\nSet `maximum: 6` if the group shall grow beyond it."
    )
    context, step = cloud.context(), scale(6, maximum=6)
    change = step.plan(context)
    assert change.summary == "web: 2 -> 6 instances, MaxSize 4 -> 6"
    step.apply(context, change)
    assert sizes(asg) == (6, 6)
    undo = step.undo(change)
    assert isinstance(undo, AsgScale)
    undo.apply(context, undo.plan(context))
    assert sizes(asg) == (2, 4)


def test_a_call_that_says_what_shall_be_is_sent_again_when_its_answer_gets_lost(asg: Any, cloud: Cloud) -> None:
    context, step = cloud.context(), scale(3)
    change = step.plan(context)
    cloud.lose = {"SetDesiredCapacity": 1}
    step.apply(context, change)
    assert (cloud.operations.count("SetDesiredCapacity"), sizes(asg)) == (2, (3, 4))


def test_when_no_answer_comes_at_all_the_step_is_in_doubt_and_the_probe_knows_more(asg: Any, cloud: Cloud) -> None:
    context, step = cloud.context(), scale(3)
    change = step.plan(context)
    cloud.lose = {"SetDesiredCapacity": 9}
    with pytest.raises(
        InDoubtError, match=r'^autoscaling:SetDesiredCapacity in account "prod" \(eu-west-1\): no answer .*may have been carried out'
    ):
        step.apply(context, change)
    assert step.probe(context, change) is Probe.DONE
    asg.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=4)
    assert step.probe(context, change) is Probe.UNKNOWN
