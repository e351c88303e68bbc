"""What holds for every action, tried for those on AWS, on a moto server. What moto lacks or gets wrong is answered by the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fixtures_aws import PROD, Canned, Cloud
from fixtures_aws_things import Automation, Commands, Refresh, balancer, database, function, group, restarted, service, starting
from stopgap.actions.aws import ssm
from stopgap.actions.aws.alb import AlbShift
from stopgap.actions.aws.autoscaling import AsgScale
from stopgap.actions.aws.ec2 import Ec2Reboot
from stopgap.actions.aws.ecs import EcsScale
from stopgap.actions.aws.ecs_rollback import EcsRollback
from stopgap.actions.aws.eks import EksNodegroupScale
from stopgap.actions.aws.lambdas import LambdaRollback, LambdaThrottle
from stopgap.actions.aws.rds import RdsFailover, RdsReboot
from stopgap.actions.aws.refresh import AsgRefreshRollback
from stopgap.actions.aws.route53 import Route53Shift
from stopgap.actions.aws.ssm import SsmAutomation, SsmCommand
from stopgap.actions.catalogue import ACTIONS
from stopgap.actions.contract import Action, Probe
from stopgap.testing.actions import ActionContract, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssm, "SETTLING", 0.01)  # this server's lists are never late


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
    return Scene(action=action, policy=cloud.policy(), heard=cloud.changes, has_marks=False, stalled_seconds=3, **others)


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


class TestRdsFailover(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        admin = database(cloud)

        def look() -> Any:
            members = admin.describe_db_clusters(DBClusterIdentifier="orders")["DBClusters"][0]["DBClusterMembers"]
            return [each["DBInstanceIdentifier"] for each in members if each["IsClusterWriter"]]

        def busy(answer: str) -> str:
            return answer.replace("<Status>available</Status>", "<Status>failing-over</Status>")

        def stall() -> None:
            cloud.edits["FailoverDBCluster"] = lambda answer: cloud.edits.update(DescribeDBClusters=busy) or answer

        return scene_of(
            cloud,
            RdsFailover(account=PROD, db_cluster="orders", to="orders-b"),
            look=look,
            stall=stall,
            meddle=lambda: admin.failover_db_cluster(DBClusterIdentifier="orders", TargetDBInstanceIdentifier="orders-c"),
        )


class TestRdsReboot(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        database(cloud)
        cloud.canned["DescribeEvents"] = [Canned(restarted(""))]

        def reboot(answer: str) -> str:
            cloud.canned["DescribeEvents"] = [Canned(restarted("2026-11-22T03:00:00Z"))]
            return answer

        def stall() -> None:
            def slow(answer: str) -> str:
                cloud.edits["DescribeDBInstances"] = lambda one: one.replace(">available<", ">rebooting<")
                return answer

            cloud.edits["RebootDBInstance"] = slow

        cloud.edits["RebootDBInstance"] = reboot
        never = dict.fromkeys((Probe.NOT_DONE, Probe.UNKNOWN), "until an event is there, nothing tells whether it was asked to restart")
        return scene_of(
            cloud,
            RdsReboot(account=PROD, instance="orders-a"),
            look=lambda: cloud.operations.count("RebootDBInstance"),
            stall=stall,
            never=never,
            adds="a restart happens as often as it is asked for",
        )


class TestEc2Reboot(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        made = cloud.admin("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        why = "EC2 keeps no trace of a restart"
        return scene_of(
            cloud,
            Ec2Reboot(account=PROD, instances=[made]),
            look=lambda: cloud.changes().count("RebootInstances"),
            never={Probe.NOT_DONE: why, Probe.DONE: why, Probe.IN_PROGRESS: why, Probe.UNKNOWN: "it always says so"},
            adds="a restart happens as often as it is asked for",
        )


class TestEksNodegroupScale(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        admin, role = cloud.admin("eks"), "arn:aws:iam::123456789012:role/eks"
        admin.create_cluster(name="shop", roleArn=role, resourcesVpcConfig={"subnetIds": ["subnet-1"]})
        group = {"clusterName": "shop", "nodegroupName": "web"}
        sizes = {"minSize": 1, "maxSize": 4, "desiredSize": 2}
        admin.create_nodegroup(**group, subnets=["subnet-1"], nodeRole=role, scalingConfig=sizes)

        def look() -> Any:
            return admin.describe_nodegroup(**group)["nodegroup"]["scalingConfig"]

        def stall() -> None:
            cloud.edits["GET /clusters/shop/node-groups/web"] = lambda answer: answer.replace('"ACTIVE"', '"UPDATING"')

        return scene_of(
            cloud,
            EksNodegroupScale(account=PROD, eks_cluster="shop", nodegroup="web", nodes=5, maximum=6),
            look=look,
            stall=stall,
            meddle=lambda: admin.update_nodegroup_config(**group, scalingConfig={"desiredSize": 3}),
        )


class TestAsgRefreshRollback(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        refresh = Refresh(cloud)
        return scene_of(
            cloud,
            AsgRefreshRollback(account=PROD, group="web"),
            look=lambda: refresh.status,
            stall=lambda: setattr(refresh, "after", "RollbackInProgress"),
            meddle=lambda: setattr(refresh, "status", "RollbackFailed"),
            adds="the API refuses it when no refresh is under way, which this stand-in does not",
        )


class TestSsmCommand(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        ec2, admin = cloud.admin("ec2"), cloud.admin("ssm")
        made = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]

        commands = Commands(cloud, made)
        return scene_of(
            cloud,
            SsmCommand(account=PROD, instances=[made], parameters={"commands": ["systemctl restart web"]}),
            look=lambda: len(admin.list_commands()["Commands"]),
            stall=lambda: setattr(commands, "status", "InProgress"),
            meddle=lambda: setattr(commands, "status", "Cancelled"),
            adds="a command runs as often as it is sent",
        )


class TestSsmAutomation(ActionContract):
    @pytest.fixture
    def scene(self, cloud: Cloud) -> Scene:
        automation = Automation(cloud)
        return scene_of(
            cloud,
            SsmAutomation(account=PROD, document="AWS-RestartEC2Instance", parameters={"InstanceId": ["i-0123456789abcdef0"]}),
            look=lambda: len(automation.started),
            stall=lambda: setattr(automation, "status", "InProgress"),
            meddle=lambda: setattr(automation, "status", "Cancelled"),
        )
