"""`aws.route53_shift`: how the answers for a name are divided among its weighted records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.aws import progress, weights
from stopgap.actions.aws.client import JSON, Api, connect
from stopgap.actions.aws.errors import RefusedError
from stopgap.actions.contract import (
    Action,
    Change,
    ConflictError,
    Context,
    Effect,
    Outcome,
    PermanentError,
    Probe,
    Risk,
    Target,
    Undoes,
    action,
)


@action
class Route53Shift:
    """Divide the answers for a name among its weighted records, and wait until every name server of Route 53 gives them. Resolvers keep the
    old answer for the records' TTL.
    """

    name: ClassVar[str] = "aws.route53_shift"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=5)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "route53:ChangeResourceRecordSets",
            "route53:GetChange",
            "route53:ListResourceRecordSets",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"weights": "the weights now", "before": "the weights before"}

    account: fields.Account
    zone: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,32}$", description="The hosted zone's id, like Z0123456789ABC.")]
    record: Annotated[
        str, Field(pattern=r"^[a-z0-9_*]([a-z0-9._*-]*[a-z0-9])?\.?$", max_length=255, description="The name, like api.example.com.")
    ]
    type: Annotated[str, Field(pattern=r"^(A|AAAA|CNAME|TXT|SRV|MX)$", description="The records' type.")] = "A"
    weights: Annotated[
        dict[str, Annotated[int, Field(ge=0, le=255)]],
        Field(min_length=1, max_length=100, description="Weights by the records' set identifiers; every one must be named."),
    ]

    def __post_init__(self) -> None:
        """ValueError when no record gets traffic."""
        weights.refuse_nothing(self.weights)

    def targets(self) -> frozenset[Target]:
        """The name in its zone."""
        return frozenset({Target(f"aws/route53/{self.zone}/{self._name()}/{self.type}")})

    def plan(self, context: Context) -> Change:
        """Read the weighted records of the name."""
        with connect(context, self.account) as api:
            found = self._records(api)
        now = _weights(found)
        weights.refuse_unnamed(now, self.weights, what="record")
        if missing := [name for name in self.weights if name not in now]:
            raise PermanentError(f"{self.record} has no weighted {self.type} record {missing[0]}; it has: {', '.join(sorted(now))}.")
        ttl = max((int(each.get("TTL", 60)) for each in found), default=0)
        note = f"resolvers may give the old answer for {ttl} s more (TTL)"
        return weights.change(now, self.weights, what=f"{self.record} {self.type}", notes=(note,))

    def apply(self, context: Context, change: Change) -> Outcome:
        """Replace exactly the records that were read, all of them or none, and wait until Route 53 is in sync."""
        with connect(context, self.account) as api:
            if not change.is_empty:
                identity = self._send(api, change)
                progress.waiter(api, "route53:resource_record_sets_changed", what=self.record, Id=identity)
        return weights.outcome(change)

    def probe(self, context: Context, change: Change) -> Probe:
        """The records' own weights tell: the new ones are ours, the old ones mean that nothing was sent, others are somebody else's."""
        with connect(context, self.account) as api:
            return weights.probe(_weights(self._records(api)), change)

    def undo(self, change: Change) -> Action | None:
        """Go back to the weights that were there."""
        return None if change.is_empty else replace(self, weights=weights.before(change))

    def _records(self, api: Api) -> list[JSON]:
        start = {"HostedZoneId": self.zone, "StartRecordName": self._name(), "StartRecordType": self.type}
        found = api.read("route53:ListResourceRecordSets", **start)["ResourceRecordSets"]
        # Route 53 writes an asterisk as \\052.
        same = [each for each in found if each["Name"].replace("\\052", "*") == self._name() and each["Type"] == self.type]
        if not same or any("Weight" not in each for each in same):
            how = "records, but not weighted ones" if same else "none"
            raise PermanentError(f"{self.record} needs weighted {self.type} records in zone {self.zone}; it has {how}.")
        return same

    def _send(self, api: Api, change: Change) -> str:
        found = self._records(api)
        if _weights(found) != dict(change.now):
            raise ConflictError(f"{self.record}: its weights changed since they were read; nothing was written.")
        # DELETE must name the record exactly as it is, and the batch is carried out whole or not at all: this is our precondition.
        batch = []
        for each in found:
            weight = self.weights[each["SetIdentifier"]]
            if weight != each["Weight"]:
                batch += [
                    {"Action": "DELETE", "ResourceRecordSet": each},
                    {"Action": "CREATE", "ResourceRecordSet": {**each, "Weight": weight}},
                ]
        try:
            body = {"Comment": f"stopgap {api.context.mark}"[:256], "Changes": batch}
            sent = api.send("route53:ChangeResourceRecordSets", HostedZoneId=self.zone, ChangeBatch=body)
        except RefusedError as error:
            if error.code in {"InvalidChangeBatch", "PriorRequestNotComplete"}:
                raise ConflictError(f"{self.record}: its records changed since they were read; nothing was written. {error}") from error
            raise
        return str(sent["ChangeInfo"]["Id"])

    def _name(self) -> str:
        return f"{self.record.removesuffix('.')}."


def _weights(records: list[JSON]) -> dict[str, int]:
    return {str(each["SetIdentifier"]): int(each["Weight"]) for each in records}
