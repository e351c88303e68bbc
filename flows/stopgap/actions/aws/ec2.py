"""`aws.ec2_reboot`: restart instances."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.aws import progress
from stopgap.actions.aws.client import Api, connect, target
from stopgap.actions.aws.errors import ForbiddenError, RefusedError
from stopgap.actions.contract import Action, Change, Checked, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action

Instance = Annotated[str, Field(pattern=r"^i-[0-9a-f]{8,17}$")]


@action
class Ec2Reboot:
    """Restart EC2 instances, and wait until their status checks pass."""

    name: ClassVar[str] = "aws.ec2_reboot"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "ec2:DescribeInstanceStatus",
            "ec2:DescribeInstances",
            "ec2:RebootInstances",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {}

    account: fields.Account
    instances: Annotated[list[Instance], Field(min_length=1, max_length=50, description="The instances' ids.")]

    def targets(self) -> frozenset[Target]:
        """The instances."""
        return frozenset(target(self.account, "ec2", instance) for instance in self.instances)

    def plan(self, context: Context) -> Change:
        """Read the instances, and let EC2 try the request without doing it (DryRun)."""
        with connect(context, self.account) as api:
            found = self._states(api)
            checked, notes = self._try(api)
        asleep = {name: state for name, state in found.items() if state != "running"}
        if asleep:
            raise PermanentError(f"Only running instances can be restarted: {', '.join(f'{k} is {v}' for k, v in asleep.items())}.")
        return Change(
            summary=f"restart {', '.join(self.instances)}",
            now=dict.fromkeys(self.instances, "running"),
            after=dict.fromkeys(self.instances, "restarted"),
            material=found,
            checked=checked,
            notes=notes,
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Ask for the restart, once, and wait for the status checks."""
        with connect(context, self.account) as api:
            api.send("ec2:RebootInstances", InstanceIds=self.instances)
            progress.waiter(api, "ec2:instance_status_ok", what=change.summary, InstanceIds=self.instances)
        return Outcome(changed=True, summary=f"{change.summary}; the status checks pass")

    def probe(self, context: Context, change: Change) -> Probe:
        """EC2 keeps no trace of a restart: only a human can tell."""
        return Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """A restart is not taken back."""
        return None

    def _states(self, api: Api) -> dict[str, str]:
        reservations = api.read("ec2:DescribeInstances", InstanceIds=self.instances)["Reservations"]
        return {str(each["InstanceId"]): str(each["State"]["Name"]) for one in reservations for each in one["Instances"]}

    def _try(self, api: Api) -> tuple[Checked, tuple[str, ...]]:
        try:
            api.send("ec2:RebootInstances", InstanceIds=self.instances, DryRun=True)
        except ForbiddenError:
            if not (api.context.is_dry and api.access.account.read_only):
                raise
            return "predicted", ("not checked by EC2: the read-only credentials of this account may not even try it",)
        except RefusedError as error:
            if error.code != "DryRunOperation":
                raise
        return "server", ()
