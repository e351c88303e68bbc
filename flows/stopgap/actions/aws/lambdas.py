"""`aws.lambda_rollback` and `aws.lambda_throttle`: which version an alias runs, and how many may run at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.aws.client import JSON, Api, connect, target
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

Function = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$", description="The function's name.")]


@action
class LambdaRollback:
    """Point a Lambda function's alias at an earlier version, and at that one alone. Without `version` it is the one published before."""

    name: ClassVar[str] = "aws.lambda_rollback"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=2)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "lambda:GetAlias",
            "lambda:ListVersionsByFunction",
            "lambda:UpdateAlias",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"version": "the version now", "before": "the version before"}

    account: fields.Account
    function: Function
    alias: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$", description="The alias that callers use.")]
    version: Annotated[str | None, Field(pattern=r"^[0-9]+$", description="The version; the one published before when left out.")] = None

    def targets(self) -> frozenset[Target]:
        """The function."""
        return frozenset({target(self.account, "lambda", self.function)})

    def plan(self, context: Context) -> Change:
        """Read the alias and the published versions."""
        with connect(context, self.account) as api:
            found = self._alias(api)
            before = str(found["FunctionVersion"])
            versions = _versions(api, self.function)
        wanted = self.version or _previous(versions, before, what=f"{self.function}:{self.alias}")
        if wanted not in versions:
            raise PermanentError(f"{self.function} has no version {wanted}; it has: {', '.join(versions[-10:]) or 'none'}.")
        now = {"version": before, "canary": _canary(found)}
        note = () if self.version else ("nothing tells whether the version before was good; name a `version:` if you know better",)
        return Change(
            summary=f"{self.function}:{self.alias}: version {before} -> {wanted}",
            now=now,
            after={"version": wanted, "canary": "none"},
            material=now,
            undo=now,
            precondition=str(found["RevisionId"]),
            notes=note,
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the version on condition that the alias is as it was read (RevisionId)."""
        data = {"version": change.after["version"], "before": change.now["version"]}
        if not change.is_empty:
            with connect(context, self.account) as api:
                self._send(api, change)
        return Outcome(changed=not change.is_empty, summary=change.summary, data=data)

    def probe(self, context: Context, change: Change) -> Probe:
        """The alias tells: the new version is ours, the old one means that nothing was sent, another one is somebody else's."""
        with connect(context, self.account) as api:
            found = self._alias(api)
        seen = {"version": str(found["FunctionVersion"]), "canary": _canary(found)}
        if seen == dict(change.after):
            return Probe.DONE
        return Probe.NOT_DONE if seen == dict(change.now) else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Point the alias at the version that was there; a canary is not set up again."""
        return None if change.is_empty else replace(self, version=change.undo["version"])

    def _alias(self, api: Api) -> JSON:
        return api.read("lambda:GetAlias", FunctionName=self.function, Name=self.alias)

    def _send(self, api: Api, change: Change) -> None:
        alias: JSON = {"FunctionName": self.function, "Name": self.alias, "RevisionId": change.precondition}
        try:
            api.send("lambda:UpdateAlias", **alias, FunctionVersion=change.after["version"], RoutingConfig={"AdditionalVersionWeights": {}})
        except RefusedError as error:
            if error.code == "PreconditionFailedException":
                raise ConflictError(f"{self.function}:{self.alias} changed since it was read; nothing was written. {error}") from error
            raise


@action
class LambdaThrottle:
    """Set how many executions of a Lambda function may run at once; 0 stops it, and no number takes the limit away."""

    name: ClassVar[str] = "aws.lambda_throttle"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=2)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "lambda:DeleteFunctionConcurrency",
            "lambda:GetFunctionConcurrency",
            "lambda:PutFunctionConcurrency",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"concurrency": "the limit now, -1 for none", "before": "the limit before, -1 for none"}

    account: fields.Account
    function: Function
    concurrency: Annotated[int | None, Field(ge=0, le=100000, description="The reserved concurrency; none when left out.")] = None

    def targets(self) -> frozenset[Target]:
        """The function."""
        return frozenset({target(self.account, "lambda", self.function)})

    def plan(self, context: Context) -> Change:
        """Read the limit."""
        with connect(context, self.account) as api:
            now = {"concurrency": self._limit(api)}
        stops = ("0 stops the function: every call is refused",) if self.concurrency == 0 else ()
        summary = f"{self.function}: {_limited(now['concurrency'])} -> {_limited(self.concurrency)}"
        return Change(summary=summary, now=now, after={"concurrency": self.concurrency}, material=now, undo=now, notes=stops)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Set the limit, or take it away."""
        with connect(context, self.account) as api:
            if change.is_empty:
                pass
            elif self.concurrency is None:
                api.send("lambda:DeleteFunctionConcurrency", repeatable=True, FunctionName=self.function)
            else:
                wanted = {"ReservedConcurrentExecutions": self.concurrency}
                api.send("lambda:PutFunctionConcurrency", repeatable=True, FunctionName=self.function, **wanted)
        data = {"concurrency": _number(self.concurrency), "before": _number(change.now["concurrency"])}
        return Outcome(changed=not change.is_empty, summary=change.summary, data=data)

    def probe(self, context: Context, change: Change) -> Probe:
        """The limit tells: the new one is ours, the old one means that nothing was sent, another one is somebody else's."""
        with connect(context, self.account) as api:
            found = self._limit(api)
        if found == self.concurrency:
            return Probe.DONE
        return Probe.NOT_DONE if found == change.now["concurrency"] else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Go back to the limit that was there, or to none."""
        return None if change.is_empty else replace(self, concurrency=change.undo["concurrency"])

    def _limit(self, api: Api) -> int | None:
        found = api.read("lambda:GetFunctionConcurrency", FunctionName=self.function).get("ReservedConcurrentExecutions")
        return None if found is None else int(found)


def _versions(api: Api, function: str) -> list[str]:
    found = api.all("lambda:ListVersionsByFunction", "Versions", FunctionName=function)
    return sorted((str(each["Version"]) for each in found if each["Version"] != "$LATEST"), key=int)


def _previous(versions: list[str], current: str, *, what: str) -> str:
    if not current.isdigit():
        raise PermanentError(f"{what} points at {current}, which has no version before it; name a `version:`.")
    older = [version for version in versions if int(version) < int(current)]
    if not older:
        raise PermanentError(f"{what} points at version {current}, and no older one is left; it has: {', '.join(versions)}.")
    return older[-1]


def _canary(alias: JSON) -> str:
    shares = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return ", ".join(f"{100 * share:g}% to version {version}" for version, share in sorted(shares.items())) or "none"


def _limited(limit: int | None) -> str:
    return "no limit" if limit is None else f"at most {limit} at once"


def _number(limit: int | None) -> int:
    return -1 if limit is None else limit
