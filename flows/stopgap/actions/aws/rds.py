"""`aws.rds_failover` and `aws.rds_reboot`: another writer for a database cluster, and a restart of one instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.aws import names, progress
from stopgap.actions.aws.client import JSON, Api, connect, target
from stopgap.actions.aws.errors import RefusedError
from stopgap.actions.aws.progress import Progress
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
_RESTARTED = ("restarted", "failover completed", "shutdown")


@action
class RdsFailover:
    """Make a reader of an Aurora or Multi-AZ database cluster its writer. Connections to the present writer break. Without `to` it is the
    reader with the best promotion tier.
    """

    name: ClassVar[str] = "aws.rds_failover"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "rds:DescribeDBClusters",
            "rds:DescribeDBInstances",
            "rds:FailoverDBCluster",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"writer": "the writer now", "before": "the writer before"}

    account: fields.Account
    db_cluster: Annotated[Name, Field(description="The database cluster's identifier.")]
    to: Annotated[Name | None, Field(description="The instance that becomes the writer; the first in line when left out.")] = None

    def targets(self) -> frozenset[Target]:
        """The cluster."""
        return frozenset({target(self.account, "rds", self.db_cluster)})

    def plan(self, context: Context) -> Change:
        """Read the cluster, and see that it and the new writer are available."""
        with connect(context, self.account) as api:
            found = _cluster(api, self.db_cluster)
            before, wanted = _writer(found), self.to or _first_in_line(found)
            members = [each["DBInstanceIdentifier"] for each in found["DBClusterMembers"]]
            if wanted not in members:
                raise names.unknown(api, f"instance in the cluster {self.db_cluster}", wanted, members)
            _refuse_busy(self.db_cluster, found["Status"])
            _refuse_busy(wanted, _instance(api, wanted)["DBInstanceStatus"])
        now = {"writer": before}
        return Change(
            summary=f"{self.db_cluster}: writer {before} -> {wanted}",
            now=now,
            after={"writer": wanted},
            material=now,
            undo=now,
            notes=("connections to the present writer break, and writes fail until the new one has taken over",),
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Ask for the failover, once and with the new writer named, and wait until it is the writer and the cluster is available."""
        with connect(context, self.account) as api:
            if not change.is_empty:
                wanted = {"TargetDBInstanceIdentifier": change.after["writer"]}
                api.send("rds:FailoverDBCluster", DBClusterIdentifier=self.db_cluster, **wanted)
            progress.wait(api, lambda: self._progress(api, change), what=self.db_cluster)
        data = {"writer": change.after["writer"], "before": change.now["writer"]}
        return Outcome(changed=not change.is_empty, summary=change.summary, data=data)

    def probe(self, context: Context, change: Change) -> Probe:
        """The cluster's writer tells. The new writer is named in the request, so that one sent twice would be refused."""
        with connect(context, self.account) as api:
            found = _cluster(api, self.db_cluster)
            if _writer(found) == change.after["writer"]:
                return Probe.DONE if found["Status"] == "available" else Probe.IN_PROGRESS
        if found["Status"] != "available":
            return Probe.IN_PROGRESS
        return Probe.NOT_DONE if _writer(found) == change.now["writer"] else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Make the writer that was there the writer again."""
        return None if change.is_empty else replace(self, to=change.undo["writer"])

    def _progress(self, api: Api, change: Change) -> Progress:
        found = _cluster(api, self.db_cluster)
        is_done = _writer(found) == change.after["writer"] and found["Status"] == "available"
        return Progress(is_done, f"writer {_writer(found)}, {found['Status']}")


@action
class RdsReboot:
    """Restart a database instance, with a failover to its standby if asked, and wait until it is available again."""

    name: ClassVar[str] = "aws.rds_reboot"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=15)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "rds:DescribeDBInstances",
            "rds:DescribeEvents",
            "rds:RebootDBInstance",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {}

    account: fields.Account
    instance: Annotated[Name, Field(description="The database instance's identifier.")]
    failover: Annotated[bool, Field(description="Let the standby in the other zone take over; only a Multi-AZ instance has one.")] = False

    def targets(self) -> frozenset[Target]:
        """The instance."""
        return frozenset({target(self.account, "rds", self.instance)})

    def plan(self, context: Context) -> Change:
        """Read the instance, and when it was last restarted."""
        with connect(context, self.account) as api:
            found = _instance(api, self.instance)
            _refuse_busy(self.instance, found["DBInstanceStatus"])
            if self.failover and not found.get("MultiAZ"):
                raise PermanentError(f"{self.instance} has no standby (it is not Multi-AZ); leave `failover` out.")
            last = self._last_restart(api)
        how = "restart with failover" if self.failover else "restart"
        return Change(
            summary=f"{self.instance}: {how}",
            now={"restart": "none asked for", "engine": found["Engine"]},
            after={"restart": how, "engine": found["Engine"]},
            material={"multi_az": bool(found.get("MultiAZ"))},
            undo={"last_restart": last},
            notes=("its connections break, and it serves nobody until it is available again",),
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Ask for the restart, once, and wait until the instance is available."""
        with connect(context, self.account) as api:
            api.send("rds:RebootDBInstance", DBInstanceIdentifier=self.instance, ForceFailover=self.failover)
            progress.waiter(api, "rds:db_instance_available", what=self.instance, DBInstanceIdentifier=self.instance)
        return Outcome(changed=True, summary=f"{change.summary}; it is available")

    def probe(self, context: Context, change: Change) -> Probe:
        """The instance's events tell, once they are there; without one, nothing tells whether it was asked to restart."""
        with connect(context, self.account) as api:
            if _instance(api, self.instance)["DBInstanceStatus"] != "available":
                return Probe.IN_PROGRESS
            return Probe.DONE if self._last_restart(api) > str(change.undo["last_restart"]) else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """A restart is not taken back."""
        return None

    def _last_restart(self, api: Api) -> str:
        place = {"SourceIdentifier": self.instance, "SourceType": "db-instance"}
        found = api.read("rds:DescribeEvents", **place, Duration=24 * 60)["Events"]
        times = [each["Date"].isoformat() for each in found if any(sign in each["Message"] for sign in _RESTARTED)]
        return max(times, default="")


def _cluster(api: Api, name: str) -> JSON:
    try:
        found: JSON = api.read("rds:DescribeDBClusters", DBClusterIdentifier=name)["DBClusters"][0]
    except RefusedError as error:
        if error.code != "DBClusterNotFoundFault":
            raise
        there = [each["DBClusterIdentifier"] for each in api.all("rds:DescribeDBClusters", "DBClusters")]
        raise names.unknown(api, "database cluster", name, there) from error
    return found


def _instance(api: Api, name: str) -> JSON:
    try:
        found: JSON = api.read("rds:DescribeDBInstances", DBInstanceIdentifier=name)["DBInstances"][0]
    except RefusedError as error:
        if error.code not in {"DBInstanceNotFound", "DBInstanceNotFoundFault"}:
            raise
        there = [each["DBInstanceIdentifier"] for each in api.all("rds:DescribeDBInstances", "DBInstances")]
        raise names.unknown(api, "database instance", name, there) from error
    return found


def _writer(cluster: JSON) -> str:
    return next((str(each["DBInstanceIdentifier"]) for each in cluster["DBClusterMembers"] if each["IsClusterWriter"]), "none")


def _first_in_line(cluster: JSON) -> str:
    readers = [each for each in cluster["DBClusterMembers"] if not each["IsClusterWriter"]]
    if not readers:
        raise PermanentError(f"{cluster['DBClusterIdentifier']} has no reader that could take over.")
    best = min(readers, key=lambda each: (each.get("PromotionTier", 1), each["DBInstanceIdentifier"]))
    return str(best["DBInstanceIdentifier"])


def _refuse_busy(name: str, status: str) -> None:
    if status != "available":
        raise PermanentError(f"{name} is {status}, not available; AWS would refuse this.")
