"""Things in an account of moto that several tests need, and answers by hand for what moto lacks."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

from fixtures_aws import REGION, Canned, Cloud


def group(cloud: Cloud, name: str = "web", *, maximum: int = 4) -> Any:
    """An Auto Scaling group of two instances."""
    admin = cloud.admin("autoscaling")
    admin.create_launch_configuration(LaunchConfigurationName=name, ImageId="ami-12c6146b", InstanceType="t3.micro")
    sizes = {"MinSize": 1, "MaxSize": maximum, "DesiredCapacity": 2}
    zones = [f"{REGION}a"]
    admin.create_auto_scaling_group(AutoScalingGroupName=name, LaunchConfigurationName=name, AvailabilityZones=zones, **sizes)
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


def database(cloud: Cloud) -> Any:
    """A cluster of a writer and two readers."""
    admin = cloud.admin("rds")
    login = {"MasterUsername": "admin", "MasterUserPassword": "long-enough"}
    admin.create_db_cluster(DBClusterIdentifier="orders", Engine="aurora-postgresql", **login)
    for name in ("orders-a", "orders-b", "orders-c"):
        admin.create_db_instance(
            DBInstanceIdentifier=name, DBClusterIdentifier="orders", DBInstanceClass="db.r6g.large", Engine="aurora-postgresql"
        )
    return admin


def restarted(when: str) -> str:
    """An event as RDS writes it; moto has none."""
    event = (
        ""
        if not when
        else (
            f"<Event><SourceIdentifier>orders-a</SourceIdentifier><SourceType>db-instance</SourceType><Message>DB instance restarted</Message>"
            f"<Date>{when}</Date></Event>"
        )
    )
    return (
        f'<DescribeEventsResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><DescribeEventsResult><Events>{event}</Events>'
        f"</DescribeEventsResult></DescribeEventsResponse>"
    )


class Refresh:
    """An instance refresh as the API reference writes it; moto has none."""

    def __init__(self, cloud: Cloud) -> None:
        self.status, self.after = "InProgress", "RollbackSuccessful"
        cloud.canned["DescribeInstanceRefreshes"] = [Canned(answer=self.described)]
        cloud.canned["RollbackInstanceRefresh"] = [Canned(answer=self.rolled_back)]

    def described(self) -> str:
        return wrapped(
            "DescribeInstanceRefreshes",
            f"<InstanceRefreshes><member><InstanceRefreshId>08b91cf7</InstanceRefreshId><AutoScalingGroupName>web</AutoScalingGroupName>"
            f"<Status>{self.status}</Status><PercentageComplete>50</PercentageComplete></member></InstanceRefreshes>",
        )

    def rolled_back(self) -> str:
        self.status = self.after
        return wrapped("RollbackInstanceRefresh", "<InstanceRefreshId>08b91cf7</InstanceRefreshId>")


def wrapped(operation: str, body: str) -> str:
    space = "http://autoscaling.amazonaws.com/doc/2011-01-01/"
    return f'<{operation}Response xmlns="{space}"><{operation}Result>{body}</{operation}Result></{operation}Response>'


class Commands:
    """What became of commands: moto keeps them, carries none out and has no invocations."""

    def __init__(self, cloud: Cloud, instance: str) -> None:
        self.status, self.instance = "Success", instance
        cloud.edits["ListCommands"] = lambda answer: re.sub(r'"Status": ?"[A-Za-z]+"', f'"Status": "{self.status}"', answer)
        cloud.canned["ListCommandInvocations"] = [Canned(answer=self.invocations)]

    def invocations(self) -> str:
        printed = [{"Output": "web restarted\n"}]
        return json.dumps({"CommandInvocations": [{"InstanceId": self.instance, "Status": self.status, "CommandPlugins": printed}]})


class Automation:
    """Automation executions as the API reference writes them; moto has none."""

    def __init__(self, cloud: Cloud) -> None:
        self.started: list[dict[str, Any]] = []
        self.status = "Success"
        self.cloud = cloud
        for name in ("StartAutomationExecution", "GetAutomationExecution", "DescribeAutomationExecutions", "ListTagsForResource"):
            cloud.canned[name] = [Canned(answer=getattr(self, name))]

    def StartAutomationExecution(self) -> str:  # noqa: N802  AWS's name
        sent = json.loads(self.cloud.calls[-1].body)
        if sent["ClientToken"] not in [each["ClientToken"] for each in self.started]:
            self.started.append(sent)
        return json.dumps({"AutomationExecutionId": sent["ClientToken"]})

    def GetAutomationExecution(self) -> str:  # noqa: N802
        return json.dumps({"AutomationExecution": {"AutomationExecutionStatus": self.status}})

    def DescribeAutomationExecutions(self) -> str:  # noqa: N802
        found = [{"AutomationExecutionId": each["ClientToken"], "AutomationExecutionStatus": self.status} for each in self.started]
        return json.dumps({"AutomationExecutionMetadataList": found})

    def ListTagsForResource(self) -> str:  # noqa: N802
        asked = json.loads(self.cloud.calls[-1].body)["ResourceId"]
        return json.dumps({"TagList": next(each["Tags"] for each in self.started if each["ClientToken"] == asked)})


def records(cloud: Cloud, name: str = "api.example.com", **weights: int) -> tuple[Any, str]:
    """Weighted records of a name, and the id of their zone."""
    admin = cloud.admin("route53")
    zone = admin.create_hosted_zone(Name="example.com.", CallerReference="1")["HostedZone"]["Id"].rsplit("/", 1)[-1]
    for identifier, weight in weights.items():
        record = {"Name": f"{name}.", "Type": "A", "SetIdentifier": identifier, "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
        # moto refuses a CREATE like one that was ever made, even if that record is gone.
        change = {"Action": "UPSERT", "ResourceRecordSet": {**record, "Weight": weight}}
        admin.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [change]})
    return admin, zone
