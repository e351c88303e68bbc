"""`aws.ssm_command` and `aws.ssm_automation`: what a document of Systems Manager says, run on instances or as an automation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.aws import progress
from stopgap.actions.aws.client import JSON, Api, connect, target, token
from stopgap.actions.aws.progress import Progress
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, Undoes, action

Document = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.:/-]{3,200}$", description="The document's name or ARN.")]
Parameters = Annotated[dict[str, list[str]], Field(description="The document's parameters, each a list of texts.")]
Instance = Annotated[str, Field(pattern=r"^(i-[0-9a-f]{8,17}|mi-[0-9a-f]{17})$")]
MARK = "stopgap-mark"
LONGEST_COMMENT, LONGEST_OUTPUT = 100, 2000
SETTLING = 5.0  # seconds for which a command that was sent may be missing from the list
_RUNNING = frozenset(
    {"Pending", "InProgress", "Delayed", "Cancelling", "Waiting", "PendingApproval", "Approved", "Scheduled", "RunbookInProgress"}
)
_SUCCESS = frozenset({"Success", "CompletedWithSuccess"})


@action
class SsmCommand:
    """Run a command document of Systems Manager on instances, and wait until it has succeeded on every one."""

    name: ClassVar[str] = "aws.ssm_command"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=15)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "ssm:ListCommandInvocations",
            "ssm:ListCommands",
            "ssm:SendCommand",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"command": "the command's id", "output": "the end of what it printed, by instance"}

    account: fields.Account
    instances: Annotated[list[Instance], Field(min_length=1, max_length=50, description="The managed instances' ids.")]
    document: Document = "AWS-RunShellScript"
    parameters: Parameters

    def targets(self) -> frozenset[Target]:
        """The instances."""
        return frozenset(target(self.account, "ec2", instance) for instance in self.instances)

    def plan(self, context: Context) -> Change:
        """Show what would run, and where; nobody can check what it does."""
        with connect(context, self.account):
            pass  # the credentials are in the account
        return _change(f"{self.document} on {', '.join(self.instances)}", self.parameters)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the command, once, with our mark as its comment, and wait for every instance."""
        with connect(context, self.account) as api:
            what: JSON = {"DocumentName": self.document, "Parameters": self.parameters, "InstanceIds": self.instances}
            sent = api.send("ssm:SendCommand", **what, Comment=_comment(context), TimeoutSeconds=max(30, int(context.seconds_left())))
            identity = str(sent["Command"]["CommandId"])
            progress.wait(api, lambda: self._progress(api, identity), what=change.summary)
            printed = {each["InstanceId"]: _output(each) for each in _invocations(api, identity)}
        return Outcome(changed=True, summary=f"{change.summary}: succeeded", data={"command": identity, "output": printed})

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for the command with our mark as its comment, then at how it went; the list may be late, so it is read twice."""
        with connect(context, self.account) as api:
            found = self._ours(api)
            if not found:
                context.clock.sleep(SETTLING)
                found = self._ours(api)
        if not found:
            return Probe.NOT_DONE
        return Probe.IN_PROGRESS if found["Status"] in _RUNNING else Probe.DONE if found["Status"] in _SUCCESS else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """What a command did, another must take back."""
        return None

    def _ours(self, api: Api) -> JSON:
        found = api.all("ssm:ListCommands", "Commands", InstanceId=self.instances[0])
        return next((each for each in found if each.get("Comment") == _comment(api.context)), {})

    def _progress(self, api: Api, identity: str) -> Progress:
        found = _invocations(api, identity)
        done = [each for each in found if each["Status"] in _SUCCESS]
        failed = [each for each in found if each["Status"] not in _RUNNING | _SUCCESS]
        text = f"{len(done)} of {len(self.instances)} instances done"
        why = "; ".join(f"{each['InstanceId']} {each['Status']}: {_output(each)}" for each in failed)
        is_over = len(done) + len(failed) >= len(self.instances)
        return Progress(len(done) == len(self.instances), text, verdict=why if is_over else "")


@action
class SsmAutomation:
    """Start an automation document of Systems Manager, and wait until it has succeeded."""

    name: ClassVar[str] = "aws.ssm_automation"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=30)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "ssm:AddTagsToResource",
            "ssm:DescribeAutomationExecutions",
            "ssm:GetAutomationExecution",
            "ssm:ListTagsForResource",
            "ssm:StartAutomationExecution",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"execution": "the execution's id"}

    account: fields.Account
    document: Document
    parameters: Parameters

    def targets(self) -> frozenset[Target]:
        """The document; what it works on is not known here."""
        return frozenset({target(self.account, "ssm", self.document)})

    def plan(self, context: Context) -> Change:
        """Show what would run; nobody can check what it does."""
        with connect(context, self.account):
            pass  # the credentials are in the account
        return _change(self.document, self.parameters)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Start it, with a client token and our mark as a tag, and wait for its end."""
        with connect(context, self.account) as api:
            what: JSON = {"DocumentName": self.document, "Parameters": self.parameters, "Tags": [{"Key": MARK, "Value": context.mark}]}
            sent = api.send("ssm:StartAutomationExecution", repeatable=True, **what, ClientToken=token(context))
            identity = str(sent["AutomationExecutionId"])
            progress.wait(api, lambda: _execution(api, identity), what=change.summary)
        return Outcome(changed=True, summary=f"{change.summary}: succeeded", data={"execution": identity})

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for the execution that is tagged with our mark, then at how it went; the list may be late, so it is read twice."""
        with connect(context, self.account) as api:
            status = self._status(api)
            if not status:
                context.clock.sleep(SETTLING)
                status = self._status(api)
        if not status:
            return Probe.NOT_DONE
        return Probe.IN_PROGRESS if status in _RUNNING else Probe.DONE if status in _SUCCESS else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """What an automation did, another must take back."""
        return None

    def _status(self, api: Api) -> str:
        filters = [{"Key": "DocumentNamePrefix", "Values": [self.document]}, {"Key": "TagKey", "Values": [MARK]}]
        found = api.read("ssm:DescribeAutomationExecutions", Filters=filters, MaxResults=20)["AutomationExecutionMetadataList"]
        for each in found:
            identity = {"ResourceType": "Automation", "ResourceId": each["AutomationExecutionId"]}
            tags = api.read("ssm:ListTagsForResource", **identity)["TagList"]
            if {"Key": MARK, "Value": api.context.mark} in tags:
                return str(each["AutomationExecutionStatus"])
        return ""


def _change(summary: str, parameters: Mapping[str, list[str]]) -> Change:
    shown = {name: "\n".join(values) for name, values in parameters.items()}
    before = {"run": "not yet", **dict.fromkeys(shown, "")}
    return Change(summary=summary, now=before, after={"run": summary, **shown}, checked="unchecked")


def _comment(context: Context) -> str:
    return f"stopgap {context.mark}"[:LONGEST_COMMENT]


def _invocations(api: Api, identity: str) -> list[JSON]:
    return list(api.read("ssm:ListCommandInvocations", CommandId=identity, Details=True)["CommandInvocations"])


def _output(invocation: JSON) -> str:
    return "\n".join(str(each.get("Output", "")) for each in invocation.get("CommandPlugins", ())).strip()[-LONGEST_OUTPUT:]


def _execution(api: Api, identity: str) -> Progress:
    found = api.read("ssm:GetAutomationExecution", AutomationExecutionId=identity)["AutomationExecution"]
    status = str(found["AutomationExecutionStatus"])
    failed = "" if status in _RUNNING | _SUCCESS else f"{status}: {found.get('FailureMessage', 'no reason was given')}"
    return Progress(status in _SUCCESS, status, verdict=failed)
