"""`aws.asg_refresh_rollback`: an instance refresh that is under way goes back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from stopgap.actions import fields
from stopgap.actions.aws import autoscaling, progress
from stopgap.actions.aws.client import JSON, Api, connect, target
from stopgap.actions.aws.progress import Progress
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action


@action
class AsgRefreshRollback:
    """Stop the instance refresh of an Auto Scaling group that is under way, and bring the instances it has replaced back to what they were."""

    name: ClassVar[str] = "aws.asg_refresh_rollback"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=30)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "autoscaling:DescribeInstanceRefreshes",
            "autoscaling:RollbackInstanceRefresh",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"refresh": "the id of the instance refresh"}

    account: fields.Account
    group: autoscaling.Group

    def targets(self) -> frozenset[Target]:
        """The group."""
        return frozenset({target(self.account, "autoscaling", self.group)})

    def plan(self, context: Context) -> Change:
        """Read the latest instance refresh; it must be under way."""
        with connect(context, self.account) as api:
            found = self._latest(api)
        done = f"{found.get('PercentageComplete', 0)}% of the instances are replaced"
        if found.get("Status") not in {"InProgress", "Pending", "Baking"}:
            raise PermanentError(f"{self.group} has no instance refresh under way; the latest is {found.get('Status', 'not there')}.")
        return Change(
            summary=f"{self.group}: roll the instance refresh back ({done})",
            now={"refresh": "goes on"},
            after={"refresh": "goes back"},
            material={"refresh": found["InstanceRefreshId"]},
            undo={"refresh": found["InstanceRefreshId"]},
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Ask for the rollback, once, and wait until it has succeeded."""
        with connect(context, self.account) as api:
            api.send("autoscaling:RollbackInstanceRefresh", AutoScalingGroupName=self.group)
            progress.wait(api, lambda: self._progress(api, change), what=self.group)
        return Outcome(
            changed=True, summary=f"{self.group}: the instance refresh was rolled back", data={"refresh": change.undo["refresh"]}
        )

    def probe(self, context: Context, change: Change) -> Probe:
        """The refresh's own status tells."""
        with connect(context, self.account) as api:
            status = self._status(api, change)
        answers = {"InProgress": Probe.NOT_DONE, "Pending": Probe.NOT_DONE, "Baking": Probe.NOT_DONE}
        answers |= {"RollbackInProgress": Probe.IN_PROGRESS, "RollbackSuccessful": Probe.DONE}
        return answers.get(status, Probe.UNKNOWN)

    def undo(self, change: Change) -> Action | None:
        """Start the refresh anew where it was started."""
        return None

    def _latest(self, api: Api) -> JSON:
        found = api.read("autoscaling:DescribeInstanceRefreshes", AutoScalingGroupName=self.group, MaxRecords=1)["InstanceRefreshes"]
        return found[0] if found else {}

    def _status(self, api: Api, change: Change) -> str:
        ids = [change.undo["refresh"]]
        found = api.read("autoscaling:DescribeInstanceRefreshes", AutoScalingGroupName=self.group, InstanceRefreshIds=ids)
        return str(found["InstanceRefreshes"][0]["Status"]) if found["InstanceRefreshes"] else "gone"

    def _progress(self, api: Api, change: Change) -> Progress:
        status = self._status(api, change)
        failed = "" if status in {"InProgress", "Pending", "Baking", "RollbackInProgress"} else f"the refresh is {status}."
        return Progress(status == "RollbackSuccessful", status, verdict=failed)
