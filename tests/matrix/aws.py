"""An account of moto for the kill matrix, and the cases of the actions on AWS: each run has a group, service, function ... of its own."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx

from fixtures_aws import KEYS, NUMBER, REGION, Cloud, _Server
from matrix import standins
from matrix.case import NAME, THING, Case, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from matrix.systems import Systems

_OURS = re.compile(r"aws-[a-z0-9-]+-\d+")
_INSTANCE = re.compile(r"i-[0-9a-f]{8,}")
_instances: dict[str, str] = {}  # whose object an instance is: its own name says nothing
COUNTED = "a proxy in front of moto"


@contextlib.contextmanager
def moto(folder: Path, env: Mapping[str, str]) -> Iterator[Cloud]:
    """Start an account of moto, and the proxy that records what arrives there."""
    folder.mkdir()
    (folder / "credentials").write_text(KEYS)
    (folder / "config").write_text("")
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env) as server:
        assert server.stderr
        url = next(found[1] for line in server.stderr if (found := re.search(r"Running on (http://\S+)", line)))
        threading.Thread(target=server.stderr.read, daemon=True).start()
        try:
            with httpx.Client(base_url=url, trust_env=False, timeout=30) as client, _proxy(url, folder, client) as cloud:
                yield cloud
        finally:
            server.terminate()


@contextlib.contextmanager
def _proxy(url: str, folder: Path, client: httpx.Client) -> Iterator[Cloud]:
    server = _Account(("127.0.0.1", 0), standins.Forward)
    server.moto, server.things = client, standins.Things()
    edits: dict[str, Callable[[str], str]] = {"DescribeServices": _settled, "ListCommands": standins.succeeded}
    server.cloud = Cloud(moto=url, folder=folder, url=f"http://127.0.0.1:{server.server_address[1]}", edits=edits)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="moto's proxy")
    thread.start()
    try:
        yield server.cloud
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Account(_Server):
    things: standins.Things

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed here."""


def effects(cloud: Cloud) -> Counter[str]:
    """Return how many changes of each run's object arrived."""
    found: Counter[str] = Counter()
    for call in cloud.sent():
        named = _OURS.search(call.path + call.body)
        instance = _INSTANCE.search(call.body)
        name = named[0] if named else _instances.get(instance[0], "") if instance else ""
        found[name] += 1
    return found


def policy(cloud: Cloud) -> dict[str, Any]:
    """Return what policy.yaml says of the account."""
    files = {"credentials": str(cloud.folder / "credentials"), "config": str(cloud.folder / "config")}
    return {"accounts": {"prod": {"id": NUMBER, "region": REGION, "profile": "stopgap", "endpoint_url": cloud.url, **files}}}


def _case(action: str, *, make: Any = nothing, look: Any = nothing, effects: int = 2, **arguments: Any) -> tuple[str, Case]:
    wanted = {"account": "prod", **arguments}
    return action, Case(arguments=lambda _: wanted, make=make, look=look, effects=effects, counted=COUNTED)


_lock = threading.Lock()
_made: dict[tuple[str, str], Any] = {}


def _once(cloud: Cloud, what: str) -> Any:
    """What all runs share, made by the first."""
    with _lock:
        if (cloud.url, what) not in _made:
            _made[cloud.url, what] = _shared(cloud, what)
        return _made[cloud.url, what]


def _shared(cloud: Cloud, what: str) -> Any:
    if what == "launch":
        return cloud.admin("autoscaling").create_launch_configuration(
            LaunchConfigurationName="web", ImageId="ami-12c6146b", InstanceType="t3.micro"
        )
    if what == "role":
        return cloud.admin("iam").create_role(RoleName="run", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    if what == "tasks":
        admin = cloud.admin("ecs")
        admin.create_cluster(clusterName="shop")
        for number in (1, 2):
            admin.register_task_definition(
                family="web", containerDefinitions=[{"name": "web", "image": f"shop/web:{number}", "memory": 64}]
            )
        return admin
    if what == "eks":
        eks = cloud.admin("eks")
        eks.create_cluster(name="shop", roleArn="arn:aws:iam::123456789012:role/eks", resourcesVpcConfig={"subnetIds": ["subnet-1"]})
        return eks
    return _targets(cloud)


def _targets(cloud: Cloud) -> Any:
    ec2, admin = cloud.admin("ec2"), cloud.admin("elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{index}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"]["SubnetId"]
        for index, zone in enumerate("ab")
    ]
    arns = []
    for name in ("blue", "green"):
        made = admin.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")["TargetGroups"][0]
        admin.register_targets(TargetGroupArn=made["TargetGroupArn"], Targets=[{"Id": "10.0.0.9", "Port": 80}])
        arns.append(made["TargetGroupArn"])
    return subnets, arns


def _group(systems: Systems, name: str) -> None:
    _once(systems.cloud, "launch")
    sizes = {"MinSize": 1, "MaxSize": 4, "DesiredCapacity": 2}
    systems.cloud.admin("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name, LaunchConfigurationName="web", AvailabilityZones=[f"{REGION}a"], **sizes
    )


def _size(systems: Systems, name: str) -> Any:
    return systems.cloud.admin("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0][
        "DesiredCapacity"
    ]


def _service(systems: Systems, name: str) -> None:
    _once(systems.cloud, "tasks").create_service(cluster="shop", serviceName=name, taskDefinition="web:2", desiredCount=2)


def _tasks(systems: Systems, name: str) -> Any:
    found = systems.cloud.admin("ecs").describe_services(cluster="shop", services=[name])["services"][0]
    return found["desiredCount"], found["taskDefinition"]


def _balancer(systems: Systems, name: str) -> str:
    subnets, (blue, green) = _once(systems.cloud, "targets")
    admin = systems.cloud.admin("elbv2")
    balancer = admin.create_load_balancer(Name=name, Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    groups = [{"TargetGroupArn": blue, "Weight": 100}, {"TargetGroupArn": green, "Weight": 0}]
    forward = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
    made = admin.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=[forward])
    return str(made["Listeners"][0]["ListenerArn"])


def _balance(systems: Systems, name: str) -> Any:
    admin = systems.cloud.admin("elbv2")
    balancer = admin.describe_load_balancers(Names=[name])["LoadBalancers"][0]["LoadBalancerArn"]
    listener = admin.describe_listeners(LoadBalancerArn=balancer)["Listeners"][0]
    return [each["Weight"] for each in listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]]


def _zone(systems: Systems, name: str) -> str:
    """A zone of its own: moto loses records of one that several change at once."""
    admin = systems.cloud.admin("route53")
    zone = admin.create_hosted_zone(Name=f"{name}.example.com.", CallerReference=name)["HostedZone"]["Id"].rpartition("/")[2]
    changes = [
        {
            "Action": "UPSERT",
            "ResourceRecordSet": {
                "Name": f"api.{name}.example.com.",
                "Type": "A",
                "SetIdentifier": where,
                "Weight": weight,
                "TTL": 60,
                "ResourceRecords": [{"Value": "192.0.2.1"}],
            },
        }
        for where, weight in (("eu", 100), ("us", 0))
    ]
    admin.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    return f"{standins.ZONE}{zone}"


def _records(systems: Systems, name: str) -> Any:
    admin = systems.cloud.admin("route53")
    zones = admin.list_hosted_zones_by_name(DNSName=f"{name}.example.com.")["HostedZones"]
    found = admin.list_resource_record_sets(HostedZoneId=zones[0]["Id"])["ResourceRecordSets"]
    return {each["SetIdentifier"]: each["Weight"] for each in found if "SetIdentifier" in each}


def _function(systems: Systems, name: str) -> None:
    role, admin = _once(systems.cloud, "role"), systems.cloud.admin("lambda")
    for number in (1, 2):
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("app.py", f"# {number}")
        if number == 1:
            admin.create_function(FunctionName=name, Runtime="python3.11", Role=role, Handler="app.run", Code={"ZipFile": code.getvalue()})
        else:
            admin.update_function_code(FunctionName=name, ZipFile=code.getvalue())
        admin.publish_version(FunctionName=name)
    admin.create_alias(FunctionName=name, Name="live", FunctionVersion="2")


def _settled(answer: str) -> str:
    """DescribeServices with every task running: moto starts none, and keeps old deployments."""
    found = json.loads(answer)
    for each in found["services"]:
        each |= {"runningCount": each["desiredCount"], "pendingCount": 0}
        newest = {**each["deployments"][0], "status": "PRIMARY", "taskDefinition": each["taskDefinition"], "rolloutState": "COMPLETED"}
        each["deployments"] = [newest]
    return json.dumps(found)


def _instance(systems: Systems, name: str) -> str:
    made = systems.cloud.admin("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    _instances[made] = name
    return str(made)


def _database(systems: Systems, name: str) -> None:
    admin = systems.cloud.admin("rds")
    login = {"MasterUsername": "admin", "MasterUserPassword": "long-enough"}
    admin.create_db_cluster(DBClusterIdentifier=name, Engine="aurora-postgresql", **login)
    for part in "ab":
        admin.create_db_instance(
            DBInstanceIdentifier=f"{name}{part}", DBClusterIdentifier=name, DBInstanceClass="db.r6g.large", Engine="aurora-postgresql"
        )


def _writer(systems: Systems, name: str) -> Any:
    members = systems.cloud.admin("rds").describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]["DBClusterMembers"]
    return [each["DBInstanceIdentifier"].removeprefix(name) for each in members if each["IsClusterWriter"]]


def _nodes(systems: Systems, name: str) -> None:
    admin, role = _once(systems.cloud, "eks"), "arn:aws:iam::123456789012:role/eks"
    sizes = {"minSize": 1, "maxSize": 4, "desiredSize": 2}
    admin.create_nodegroup(clusterName="shop", nodegroupName=name, subnets=["subnet-1"], nodeRole=role, scalingConfig=sizes)


def _sizes(systems: Systems, name: str) -> Any:
    return systems.cloud.admin("eks").describe_nodegroup(clusterName="shop", nodegroupName=name)["nodegroup"]["scalingConfig"]


def _alias(systems: Systems, name: str) -> Any:
    return systems.cloud.admin("lambda").get_alias(FunctionName=name, Name="live")["FunctionVersion"]


def _concurrency(systems: Systems, name: str) -> Any:
    return systems.cloud.admin("lambda").get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")


CASES: Mapping[str, Case] = dict(
    [
        _case("aws.alb_shift", make=_balancer, look=_balance, listener=THING, weights={"blue": 10, "green": 90}),
        _case("aws.asg_refresh_rollback", effects=1, group=NAME),
        _case("aws.asg_scale", make=_group, look=_size, group=NAME, instances=3),
        _case("aws.ec2_reboot", make=_instance, effects=1, instances=[THING]),
        _case("aws.ecs_rollback", make=_service, look=_tasks, ecs_cluster="shop", service=NAME, task_definition="web:1"),
        _case("aws.ecs_scale", make=_service, look=_tasks, ecs_cluster="shop", service=NAME, tasks=3),
        _case("aws.eks_nodegroup_scale", make=_nodes, look=_sizes, eks_cluster="shop", nodegroup=NAME, nodes=3),
        _case("aws.lambda_rollback", make=_function, look=_alias, function=NAME, alias="live"),
        _case("aws.lambda_throttle", make=_function, look=_concurrency, function=NAME, concurrency=0),
        _case("aws.rds_failover", make=_database, look=_writer, db_cluster=NAME, to=f"{NAME}b"),
        _case("aws.rds_reboot", make=_database, effects=1, instance=f"{NAME}a"),
        _case("aws.route53_shift", make=_zone, look=_records, zone=THING, record=f"api.{NAME}.example.com", weights={"eu": 0, "us": 100}),
        _case("aws.ssm_automation", effects=1, document=NAME, parameters={"InstanceId": ["i-0123456789abcdef0"]}),
        _case("aws.ssm_command", make=_instance, effects=1, instances=[THING], parameters={"commands": ["systemctl restart web"]}),
    ]
)
