"""From a name in policy.yaml to an account: whose credentials, which account, what is refused, what a dry run may do."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_aws import PROD, REGION, Canned, Cloud
from stopgap.actions.aws.autoscaling import AsgScale
from stopgap.actions.aws.client import connect, token
from stopgap.actions.aws.reads import DRY_RUNS, READS
from stopgap.actions.contract import PermanentError, TemporaryError
from stopgap.actions.guard import DryRunViolation, check_http
from stopgap.policy.model import AccountName

if TYPE_CHECKING:
    from pathlib import Path

STEP = AsgScale(account=PROD, group="web", instances=3)


def test_credentials_of_another_account_are_refused_before_anything_is_asked(cloud: Cloud) -> None:
    with pytest.raises(PermanentError) as caught:
        STEP.plan(cloud.context(id="210987654321"))
    assert str(caught.value) == (
        'The credentials of profile stopgap are in account 123456789012, but policy.yaml says that "prod" is 210987654321. '
        "Nothing was sent to it."
    )
    assert cloud.operations == ["GetCallerIdentity"]


def test_an_account_that_policy_does_not_know_names_the_nearest(cloud: Cloud) -> None:
    step = AsgScale(account=AccountName("prood"), group="web", instances=3)
    with pytest.raises(PermanentError, match=r'^policy.yaml knows no account "prood". Did you mean "prod"\? It knows: prod.$'):
        step.plan(cloud.context())


def test_a_group_that_is_not_there_names_its_neighbours(cloud: Cloud) -> None:
    with pytest.raises(
        PermanentError, match=r'^Account "prod" \(eu-west-1\) has no Auto Scaling group "web", and no other; is this the right'
    ):
        STEP.plan(cloud.context())


def test_nothing_of_the_environment_decides_where_a_step_acts(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "AWS_PROFILE": "other",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "AKIAOTHER",
        "AWS_SECRET_ACCESS_KEY": "other",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "nowhere"),
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    with connect(cloud.context(), PROD) as api:
        api.read("autoscaling:DescribeAutoScalingGroups")
        assert api.client("autoscaling", tries=1).meta.region_name == REGION
    assert cloud.operations == ["GetCallerIdentity", "DescribeAutoScalingGroups"]
    assert {call.key for call in cloud.calls} == {"AKIATEST"}


def test_the_role_is_assumed_and_its_session_and_every_request_name_the_run(cloud: Cloud) -> None:
    with connect(cloud.context(role="arn:aws:iam::123456789012:role/night"), PROD) as api:
        api.read("autoscaling:DescribeAutoScalingGroups")
    first, *others = cloud.calls
    assert (first.operation, first.key) == ("AssumeRole", "AKIATEST")
    assert "RoleSessionName=stopgap-INC-1.1-step-1&" in first.body + "&"
    assert [call.operation for call in others] == ["GetCallerIdentity", "DescribeAutoScalingGroups"]
    assert "AKIATEST" not in {call.key for call in others}
    assert all(call.agent.endswith("INC-1.1/step/1") for call in cloud.calls)


def test_a_dry_run_takes_the_read_only_profile_and_no_role(cloud: Cloud) -> None:
    path = cloud.folder / "credentials"
    path.write_text(path.read_text() + "[viewer]\naws_access_key_id = AKIAVIEWER\naws_secret_access_key = test\n")
    with connect(cloud.context(mode="dry", read_only="viewer", role="arn:aws:iam::123456789012:role/night"), PROD) as api:
        api.read("autoscaling:DescribeAutoScalingGroups")
    assert {call.key for call in cloud.calls} == {"AKIAVIEWER"}


def test_a_profile_that_is_not_there_is_named(cloud: Cloud) -> None:
    with pytest.raises(PermanentError, match=r"The config profile \(nobody\) could not be found"):
        STEP.plan(cloud.context(profile="nobody"))


def test_what_iam_denies_names_the_action_and_who_lacks_it(cloud: Cloud) -> None:
    cloud.refuse = {"DescribeAutoScalingGroups"}
    with pytest.raises(PermanentError) as caught:
        STEP.plan(cloud.context())
    assert str(caught.value) == (
        'autoscaling:DescribeAutoScalingGroups in account "prod" (eu-west-1) was refused: User: arn:aws:iam::123456789012:user/night is not '
        "authorized to perform: autoscaling:DescribeAutoScalingGroups (AccessDenied).\n"
        "Allow the action autoscaling:DescribeAutoScalingGroups to profile stopgap, or use other credentials."
    )


def test_a_busy_aws_is_asked_again_and_then_reported_as_such(cloud: Cloud) -> None:
    busy = "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>"
    cloud.canned["DescribeAutoScalingGroups"] = [Canned(busy, 400)]
    with pytest.raises(TemporaryError, match=r"AWS is busy and took nothing: Rate exceeded \(Throttling\)\.$"):
        STEP.plan(cloud.context())
    assert cloud.operations.count("DescribeAutoScalingGroups") == 3


def test_an_aws_that_is_away_is_temporary(cloud: Cloud) -> None:
    with pytest.raises(TemporaryError, match=r"AWS cannot be reached .* Nothing was sent\.$"):
        STEP.plan(cloud.context(endpoint_url="http://127.0.0.1:9"))


def test_the_list_of_what_a_dry_run_may_call_is_of_operations_that_botocore_knows_and_that_read(cloud: Cloud) -> None:
    with connect(cloud.context(), PROD) as api:
        for operation in READS | DRY_RUNS:
            service, name = operation.split(":")
            model = api.client(service, tries=1).meta.service_model.operation_model(name)
            assert model.name == name
    changing = ("Create", "Delete", "Modify", "Put", "Start", "Stop", "Update", "Send", "Set", "Reboot", "Terminate")
    assert [name for name in READS if name.split(":")[1].startswith(changing)] == []


@pytest.mark.parametrize("arguments", [{}, {"DryRun": False}])
def test_a_dry_run_may_not_reboot_unless_ec2_only_checks_it(cloud: Cloud, arguments: Any) -> None:
    with connect(cloud.context(mode="dry"), PROD) as api, pytest.raises(DryRunViolation, match=r"^A dry run tried ec2:RebootInstances; "):
        api.send("ec2:RebootInstances", InstanceIds=["i-0123456789abcdef0"], **arguments)
    assert cloud.changes() == []


def test_a_client_of_ones_own_does_not_get_out_of_a_dry_runs_process(cloud: Cloud) -> None:
    code = (
        "import sys, botocore.session\n"
        "from stopgap.actions import guard\n"
        "session = botocore.session.Session()\n"
        "guard.forbid_changes()\n"
        "keys = {'aws_access_key_id': 'a', 'aws_secret_access_key': 'b'}\n"
        "session.create_client('ec2', region_name='eu-west-1', endpoint_url=sys.argv[1], **keys).reboot_instances(InstanceIds=['i-1'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, cloud.url], capture_output=True, text=True, check=False, timeout=60)
    assert "DryRunViolation: A dry run tried to connect to " in done.stderr
    assert cloud.calls == []


def test_a_dry_run_plans_in_a_process_that_may_change_nothing(cloud: Cloud) -> None:
    admin = cloud.admin("autoscaling")
    admin.create_launch_configuration(LaunchConfigurationName="web", ImageId="ami-12c6146b", InstanceType="t3.micro")
    sizes = {"MinSize": 1, "MaxSize": 4, "DesiredCapacity": 2}
    admin.create_auto_scaling_group(AutoScalingGroupName="web", LaunchConfigurationName="web", AvailabilityZones=[f"{REGION}a"], **sizes)
    code = (
        "import datetime, pathlib, sys\n"
        "from stopgap.actions import contract, guard, registry\n"
        "from stopgap.clock import SystemClock\n"
        "from stopgap.policy.model import Account, Policy\n"
        "step = registry.build('aws.asg_scale', {'account': 'prod', 'group': 'web', 'instances': 3})\n"
        "guard.forbid_changes()\n"
        "files = {'credentials': pathlib.Path(sys.argv[2]) / 'credentials', 'config': pathlib.Path(sys.argv[2]) / 'config'}\n"
        "account = Account(name='prod', id='123456789012', region='eu-west-1', profile='stopgap', endpoint_url=sys.argv[1], **files)\n"
        "clock = SystemClock()\n"
        "deadline = clock.now() + datetime.timedelta(seconds=60)\n"
        "policy = Policy(accounts={'prod': account})\n"
        "print(step.plan(contract.Context(policy=policy, clock=clock, deadline=deadline, mark='m', mode='dry')).summary)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, cloud.url, str(cloud.folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("web: 2 -> 3 instances\n", "")


@pytest.mark.parametrize("query", ["Action=RebootInstances&X-Amz-Signature=00", "x-amz-credential=AKIA", "AWSAccessKeyId=AKIA&Signature=0"])
def test_a_signed_address_is_no_way_around_the_list(query: str) -> None:
    with pytest.raises(
        DryRunViolation, match=r"^A dry run tried GET https://ec2.amazonaws.com/ with a signature; what that does cannot be told"
    ):
        check_http("GET", f"https://ec2.amazonaws.com/?{query}")


def test_the_same_attempt_has_the_same_client_token_and_the_next_one_another(cloud: Cloud) -> None:
    assert token(cloud.context()) == token(cloud.context())
    assert token(cloud.context()) != token(cloud.context(mark="INC-1.1/step/2"))
