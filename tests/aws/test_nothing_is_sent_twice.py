"""An answer that gets lost: what may be sent again is, and everything else is sent once and left in doubt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fixtures_aws import PROD, Canned, Cloud
from fixtures_aws_things import Automation, database, function, records, restarted
from stopgap.actions.aws import ssm
from stopgap.actions.aws.ec2 import Ec2Reboot
from stopgap.actions.aws.eks import EksNodegroupScale
from stopgap.actions.aws.lambdas import LambdaRollback
from stopgap.actions.aws.rds import RdsFailover, RdsReboot
from stopgap.actions.aws.route53 import Route53Shift
from stopgap.actions.aws.ssm import SsmAutomation, SsmCommand
from stopgap.actions.contract import ConflictError, InDoubtError, Probe

if TYPE_CHECKING:
    from stopgap.actions.contract import Action, Change


def left_in_doubt(cloud: Cloud, step: Action, operation: str) -> Change:
    """Apply with every answer of the operation dropped; it must have been sent exactly once."""
    change = step.plan(cloud.context())
    cloud.lose = {operation: 9}
    with pytest.raises(InDoubtError, match=r"the request may have been carried out\.$"):
        step.apply(cloud.context(), change)
    assert cloud.changes() == [operation]
    return change


def test_a_reboot_whose_answer_got_lost_is_asked_for_once_and_nobody_claims_to_know(cloud: Cloud) -> None:
    made = cloud.admin("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    step = Ec2Reboot(account=PROD, instances=[made])
    change = left_in_doubt(cloud, step, "RebootInstances")
    assert change.checked == "server"
    assert step.probe(cloud.context(), change) is Probe.UNKNOWN


def test_a_database_is_restarted_once_and_its_events_tell(cloud: Cloud) -> None:
    database(cloud)
    cloud.canned["DescribeEvents"] = [Canned(restarted("2026-11-21T03:00:00Z"))]
    step = RdsReboot(account=PROD, instance="orders-a")
    change = left_in_doubt(cloud, step, "RebootDBInstance")
    assert step.probe(cloud.context(), change) is Probe.UNKNOWN
    cloud.canned["DescribeEvents"] = [Canned(restarted("2026-11-22T03:00:00Z"))]
    assert step.probe(cloud.context(), change) is Probe.DONE


def test_a_failover_is_asked_for_once_and_the_writer_tells(cloud: Cloud) -> None:
    database(cloud)
    step = RdsFailover(account=PROD, db_cluster="orders")
    change = left_in_doubt(cloud, step, "FailoverDBCluster")
    assert change.after == {"writer": "orders-b"}
    assert step.probe(cloud.context(), change) is Probe.DONE


def test_an_alias_is_moved_once_because_its_revision_would_be_stale(cloud: Cloud) -> None:
    function(cloud)
    step = LambdaRollback(account=PROD, function="web", alias="live")
    change = left_in_doubt(cloud, step, "PUT /2015-03-31/functions/web/aliases/live")
    assert json.loads(cloud.calls[-1].body)["RevisionId"] == change.precondition
    assert step.probe(cloud.context(), change) is Probe.DONE


def test_a_command_is_sent_once_and_found_by_its_comment(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssm, "SETTLING", 0.01)
    made = cloud.admin("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    step = SsmCommand(account=PROD, instances=[made], parameters={"commands": ["true"]})
    change = left_in_doubt(cloud, step, "SendCommand")
    assert step.probe(cloud.context(mark="INC-1.1/step/2"), change) is Probe.NOT_DONE
    assert step.probe(cloud.context(), change) in {Probe.DONE, Probe.IN_PROGRESS}


def test_what_carries_a_client_token_is_sent_again_with_the_same_one_and_happens_once(cloud: Cloud) -> None:
    automation = Automation(cloud)
    step = SsmAutomation(account=PROD, document="AWS-RestartEC2Instance", parameters={})
    cloud.lose = {"StartAutomationExecution": 1}
    step.apply(cloud.context(), step.plan(cloud.context()))
    assert cloud.changes() == ["StartAutomationExecution"] * 2
    assert len(automation.started) == 1


def test_a_node_group_is_asked_again_with_the_same_token(cloud: Cloud) -> None:
    admin, role = cloud.admin("eks"), "arn:aws:iam::123456789012:role/eks"
    admin.create_cluster(name="shop", roleArn=role, resourcesVpcConfig={"subnetIds": ["subnet-1"]})
    sizes = {"minSize": 1, "maxSize": 4, "desiredSize": 2}
    admin.create_nodegroup(clusterName="shop", nodegroupName="web", subnets=["subnet-1"], nodeRole=role, scalingConfig=sizes)
    step = EksNodegroupScale(account=PROD, eks_cluster="shop", nodegroup="web", nodes=3)
    change = step.plan(cloud.context())
    cloud.lose = {"POST /clusters/shop/node-groups/web/update-config": 1}
    step.apply(cloud.context(), change)
    sent = [json.loads(call.body)["clientRequestToken"] for call in cloud.calls if call.path.endswith("/update-config")]
    assert len(sent) == 2
    assert len(set(sent)) == 1


def test_records_that_changed_after_the_plan_are_a_conflict_and_stay(cloud: Cloud) -> None:
    _, zone = records(cloud, eu=100, us=0)
    step = Route53Shift(account=PROD, zone=zone, record="api.example.com", weights={"eu": 0, "us": 100})
    change = step.plan(cloud.context())
    body = f"/2013-04-01/hostedzone/{zone}/rrset"
    gone = "<ErrorResponse><Error><Code>InvalidChangeBatch</Code><Message>it was not found</Message></Error></ErrorResponse>"
    cloud.canned[f"POST {body}/"] = cloud.canned[f"POST {body}"] = [Canned(gone, 400)]
    with pytest.raises(ConflictError, match=r"^api.example.com: its records changed since they were read; nothing was written\."):
        step.apply(cloud.context(), change)
    sent = next(call.body for call in cloud.calls if "DELETE" in call.body)
    assert sent.count("<Action>DELETE</Action>") == sent.count("<Action>CREATE</Action>") == 2
    assert "stopgap INC-1.1/step/1" in sent
