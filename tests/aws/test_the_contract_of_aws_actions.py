"""What holds for every action, tried for those on AWS, on a moto server. What moto lacks or gets wrong is answered by the proxy."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_aws import PROD, REGION, Canned, Cloud
from stopgap.actions.aws.alb import AlbShift
from stopgap.actions.aws.autoscaling import AsgScale
from stopgap.actions.aws.ecs import EcsScale
from stopgap.actions.aws.ecs_rollback import EcsRollback
from stopgap.actions.aws.lambdas import LambdaRollback, LambdaThrottle
from stopgap.actions.aws.route53 import Route53Shift
from stopgap.actions.catalogue import ACTIONS
from stopgap.actions.contract import Action, Probe
from stopgap.testing.actions import ActionContract, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = {Probe.IN_PROGRESS: "AWS carries it out in the request itself"}


@pytest.fixture(autouse=True)
def _declared(request: pytest.FixtureRequest, cloud: Cloud) -> Iterator[None]:
    """What an action called is among the permissions that it declares, as far as the protocol names it."""
    yield
    scene: Scene | None = request.node.funcargs.get("scene")
    if scene is not None:
        declared = {rule.split(":")[1] for rule in scene.action.permissions["aws"]} | {"GetCallerIdentity"}
        assert {name for name in cloud.operations if "/" not in name} <= declared


def test_every_aws_action_is_tried_here() -> None:
    classes = {place.name for name, place in ACTIONS.items() if name.startswith("aws.")}
    assert {f"Test{name}" for name in classes} == {name for name, found in globals().items() if found in ActionContract.__subclasses__()}


def scene_of(cloud: Cloud, action: Action, **others: Any) -> Scene:
    action.plan(cloud.context(seconds=60))  # what is read once in a process takes longer than a test's short deadline
    cloud.calls.clear()
    return Scene(action=action, policy=cloud.policy(), heard=cloud.changes, has_marks=False, **others)


def group(cloud: Cloud) -> Any:
    admin = cloud.admin("autoscaling")
    admin.create_launch_configuration(LaunchConfigurationName="web", ImageId="ami-12c6146b", InstanceType="t3.micro")
    sizes = {"MinSize": 1, "MaxSize": 4, "DesiredCapacity": 2}
    admin.create_auto_scaling_group(AutoScalingGroupName="web", LaunchConfigurationName="web", AvailabilityZones=[f"{REGION}a"], **sizes)
    return admin


def service(cloud: Cloud) -> Any:
    """Two revisions of a task; the service runs the second. moto starts no tasks and keeps old deployments: both are put right here."""
    admin = cloud.admin("ecs")
    admin.create_cluster(clusterName="shop")
    for number in (1, 2):
        container = {"name": "web", "image": f"shop/web:{number}", "memory": 64}
        admin.register_task_definition(family="web", containerDefinitions=[container])
    admin.create_service(cluster="shop", serviceName="web", taskDefinition="web:2", desiredCount=2)
    cloud.edits["DescribeServices"] = settled
    return admin


def settled(answer: str) -> str:
    found = json.loads(answer)
    for each in found["services"]:
        each |= {"runningCount": each["desiredCount"], "pendingCount": 0}
        newest = {**each["deployments"][0], "status": "PRIMARY", "taskDefinition": each["taskDefinition"], "rolloutState": "COMPLETED"}
        each["deployments"] = [newest]
    return json.dumps(found)


def starting(answer: str) -> str:
    found = json.loads(settled(answer))
    for each in found["services"]:
        each |= {"runningCount": 0, "pendingCount": each["desiredCount"]}
    return json.dumps(found)


class TestAsgScale(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        admin = group(cloud)

        def look() -> Any:
            found = admin.describe_auto_scaling_groups(AutoScalingGroupNames=["web"])["AutoScalingGroups"][0]
            return found["DesiredCapacity"], found["MaxSize"]

        def stall() -> None:
            cloud.edits["DescribeAutoScalingGroups"] = lambda answer: answer.replace("InService", "Pending")

        return scene_of(
            cloud,
            AsgScale(account=PROD, group="web", instances=5, maximum=6),
            look=look,
            stall=stall,
            meddle=lambda: admin.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=4),
        )


class TestEcsScale(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        admin = service(cloud)
        return scene_of(
            cloud,
            EcsScale(account=PROD, ecs_cluster="shop", service="web", tasks=3),
            look=lambda: admin.describe_services(cluster="shop", services=["web"])["services"][0]["desiredCount"],
            stall=lambda: cloud.edits.update(DescribeServices=starting),
            meddle=lambda: admin.update_service(cluster="shop", service="web", desiredCount=4),
        )


class TestEcsRollback(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        admin = service(cloud)
        admin.register_task_definition(family="web", containerDefinitions=[{"name": "web", "image": "shop/web:3", "memory": 64}])
        return scene_of(
            cloud,
            EcsRollback(account=PROD, ecs_cluster="shop", service="web", task_definition="web:1"),
            look=lambda: admin.describe_services(cluster="shop", services=["web"])["services"][0]["taskDefinition"],
            stall=lambda: cloud.edits.update(DescribeServices=starting),
            meddle=lambda: admin.update_service(cluster="shop", service="web", taskDefinition="web:3"),
        )


def balancer(cloud: Cloud) -> tuple[Any, str, dict[str, str]]:
    """A listener that forwards to blue alone; green has a healthy target too."""
    ec2, admin = cloud.admin("ec2"), cloud.admin("elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{index}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"]["SubnetId"]
        for index, zone in enumerate("ab")
    ]
    arns = {}
    for name in ("blue", "green"):
        made = admin.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")["TargetGroups"][0]
        arns[name] = made["TargetGroupArn"]
        admin.register_targets(TargetGroupArn=arns[name], Targets=[{"Id": "10.0.0.9", "Port": 80}])
    lb = admin.create_load_balancer(Name="shop", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    forward = {
        "Type": "forward",
        "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": arns[name], "Weight": w} for name, w in (("blue", 100), ("green", 0))]},
    }
    made = admin.create_listener(LoadBalancerArn=lb, Protocol="HTTP", Port=80, DefaultActions=[forward])
    return admin, made["Listeners"][0]["ListenerArn"], arns


class TestAlbShift(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        admin, listener, arns = balancer(cloud)

        def look() -> Any:
            groups = admin.describe_listeners(ListenerArns=[listener])["Listeners"][0]["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
            return {each["TargetGroupArn"]: each["Weight"] for each in groups}

        def meddle() -> None:
            groups = [{"TargetGroupArn": arns["blue"], "Weight": 1}, {"TargetGroupArn": arns["green"], "Weight": 1}]
            admin.modify_listener(ListenerArn=listener, DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}])

        step = AlbShift(account=PROD, listener=listener, weights={"blue": 10, "green": 90})
        return scene_of(cloud, step, look=look, meddle=meddle, never=AT_ONCE)


class TestRoute53Shift(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        admin = cloud.admin("route53")
        zone = admin.create_hosted_zone(Name="example.com.", CallerReference="1")["HostedZone"]["Id"].rsplit("/", 1)[-1]

        def write(weights: dict[str, int]) -> None:
            changes = [
                {
                    "Action": "UPSERT",
                    "ResourceRecordSet": {
                        "Name": "api.example.com.",
                        "Type": "A",
                        "SetIdentifier": name,
                        "Weight": weight,
                        "TTL": 60,
                        "ResourceRecords": [{"Value": "192.0.2.1"}],
                    },
                }
                for name, weight in weights.items()
            ]
            admin.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})

        def look() -> Any:
            found = admin.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
            return {each["SetIdentifier"]: each["Weight"] for each in found if "SetIdentifier" in each}

        write({"eu": 100, "us": 0})
        step = Route53Shift(account=PROD, zone=zone, record="api.example.com", weights={"eu": 0, "us": 100})
        return scene_of(cloud, step, look=look, meddle=lambda: write({"eu": 50, "us": 50}), never=AT_ONCE)


def function(cloud: Cloud) -> Any:
    """Three versions; the alias live is on the third."""
    iam, admin = cloud.admin("iam"), cloud.admin("lambda")
    role = iam.create_role(RoleName="run", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    for number in (1, 2, 3):
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("app.py", f"# {number}")
        if number == 1:
            admin.create_function(FunctionName="web", Runtime="python3.11", Role=role, Handler="app.run", Code={"ZipFile": code.getvalue()})
        else:
            admin.update_function_code(FunctionName="web", ZipFile=code.getvalue())
        admin.publish_version(FunctionName="web")
    admin.create_alias(FunctionName="web", Name="live", FunctionVersion="3")
    return admin


class TestLambdaRollback(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        admin = function(cloud)

        def meddle() -> None:
            admin.update_alias(FunctionName="web", Name="live", FunctionVersion="1")
            # moto does not look at RevisionId.
            refused = '{"Type": "User", "Message": "The RevisionId provided does not match the latest RevisionId."}'
            headers = {"x-amzn-errortype": "PreconditionFailedException"}
            cloud.canned["PUT /2015-03-31/functions/web/aliases/live"] = [Canned(refused, 412, headers)]

        return scene_of(
            cloud,
            LambdaRollback(account=PROD, function="web", alias="live"),
            look=lambda: admin.get_alias(FunctionName="web", Name="live")["FunctionVersion"],
            meddle=meddle,
            never=AT_ONCE,
        )


class TestLambdaThrottle(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        admin = function(cloud)
        return scene_of(
            cloud,
            LambdaThrottle(account=PROD, function="web", concurrency=0),
            look=lambda: admin.get_function_concurrency(FunctionName="web").get("ReservedConcurrentExecutions"),
            meddle=lambda: admin.put_function_concurrency(FunctionName="web", ReservedConcurrentExecutions=7),
            never=AT_ONCE,
        )
