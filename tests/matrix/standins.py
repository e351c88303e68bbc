"""Answers for what moto lacks, written from AWS's API reference, for many objects at once: see tests/aws/things.py for one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

from fixtures_aws import _Forward

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fixtures_aws import Call


ZONE = "ZZZ"  # AWS's zones have an id that begins with Z, moto's with anything


@dataclass(slots=True)
class Things:
    """What has happened to the objects: which instances were restarted, which refreshes rolled back, what automations run."""

    restarted: set[str] = field(default_factory=set)
    rolled_back: set[str] = field(default_factory=set)
    executions: dict[str, dict[str, Any]] = field(default_factory=dict)  # by client token
    commands: dict[str, list[str]] = field(default_factory=dict)  # on which instances each runs


class Forward(_Forward):
    """The proxy in front of moto, which answers by itself what moto does not know."""

    def _answer_of(self, call: Call, body: bytes) -> tuple[int, bytes, Mapping[str, str]]:
        self.path = self.path.replace(f"/hostedzone/{ZONE}", "/hostedzone/")
        things: Things = cast("Any", self.server).things  # its server has them
        answer = ANSWERS.get(call.operation)
        if answer:
            text = answer(things, call)
            return 200, text.encode(), {"content-type": "text/xml" if text.startswith("<") else "application/json"}
        found = super()._answer_of(call, body)
        if call.operation == "RebootDBInstance" and found[0] == 200:
            things.restarted.add(_field(call, "DBInstanceIdentifier"))
        if call.operation == "SendCommand" and found[0] == 200:
            things.commands[json.loads(found[1])["Command"]["CommandId"]] = json.loads(call.body)["InstanceIds"]
        return found


def _field(call: Call, name: str) -> str:
    return parse_qs(call.body)[name][0]


def _events(things: Things, call: Call) -> str:
    name = _field(call, "SourceIdentifier")
    event = (
        f"<Event><SourceIdentifier>{name}</SourceIdentifier><SourceType>db-instance</SourceType><Message>DB instance restarted</Message>"
        "<Date>2026-11-22T03:00:00Z</Date></Event>"
    )
    return (
        '<DescribeEventsResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><DescribeEventsResult>'
        f"<Events>{event if name in things.restarted else ''}</Events></DescribeEventsResult></DescribeEventsResponse>"
    )


def _refreshes(things: Things, call: Call) -> str:
    name = _field(call, "AutoScalingGroupName")
    status = "RollbackSuccessful" if name in things.rolled_back else "InProgress"
    return _autoscaling(
        "DescribeInstanceRefreshes",
        f"<InstanceRefreshes><member><InstanceRefreshId>08b91cf7</InstanceRefreshId><AutoScalingGroupName>{name}</AutoScalingGroupName>"
        f"<Status>{status}</Status><PercentageComplete>50</PercentageComplete></member></InstanceRefreshes>",
    )


def _rollback(things: Things, call: Call) -> str:
    things.rolled_back.add(_field(call, "AutoScalingGroupName"))
    return _autoscaling("RollbackInstanceRefresh", "<InstanceRefreshId>08b91cf7</InstanceRefreshId>")


def _autoscaling(operation: str, body: str) -> str:
    space = "http://autoscaling.amazonaws.com/doc/2011-01-01/"
    return f'<{operation}Response xmlns="{space}"><{operation}Result>{body}</{operation}Result></{operation}Response>'


def _start(things: Things, call: Call) -> str:
    sent = json.loads(call.body)
    things.executions.setdefault(sent["ClientToken"], sent)
    return json.dumps({"AutomationExecutionId": sent["ClientToken"]})


def _execution(_things: Things, _call: Call) -> str:
    return json.dumps({"AutomationExecution": {"AutomationExecutionStatus": "Success"}})


def _executions(things: Things, call: Call) -> str:
    prefix = next(each["Values"][0] for each in json.loads(call.body)["Filters"] if each["Key"] == "DocumentNamePrefix")
    found = [
        {"AutomationExecutionId": token, "AutomationExecutionStatus": "Success"}
        for token, sent in tuple(things.executions.items())
        if sent["DocumentName"].startswith(prefix)
    ]
    return json.dumps({"AutomationExecutionMetadataList": found})


def _tags(things: Things, call: Call) -> str:
    return json.dumps({"TagList": things.executions[json.loads(call.body)["ResourceId"]]["Tags"]})


def _invocations(things: Things, call: Call) -> str:
    printed = [{"Output": "done\n"}]
    found = [
        {"InstanceId": each, "Status": "Success", "CommandPlugins": printed} for each in things.commands[json.loads(call.body)["CommandId"]]
    ]
    return json.dumps({"CommandInvocations": found})


def succeeded(answer: str) -> str:
    """ListCommands with every command carried out: moto carries none out."""
    return re.sub(r'"Status": ?"[A-Za-z]+"', '"Status": "Success"', answer)


ANSWERS: Mapping[str, Callable[[Things, Call], str]] = {
    "DescribeAutomationExecutions": _executions,
    "DescribeEvents": _events,
    "DescribeInstanceRefreshes": _refreshes,
    "GetAutomationExecution": _execution,
    "ListCommandInvocations": _invocations,
    "ListTagsForResource": _tags,
    "RollbackInstanceRefresh": _rollback,
    "StartAutomationExecution": _start,
}
