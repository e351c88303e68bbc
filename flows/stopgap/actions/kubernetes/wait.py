"""`kubernetes.wait`: wait until a Deployment is as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields, waiting
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, TemporaryError, Undoes, action
from stopgap.actions.kubernetes import needs, objects, rollout
from stopgap.actions.kubernetes.client import connect


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the Deployment, in words, and whether it was as it should be."""

    holds: bool
    words: str
    ready: int = 0

    def __str__(self) -> str:
        """Render for people."""
        return self.words


@action
class KubernetesWait:
    """Wait until a Deployment's rollout is done, or until one of its conditions holds."""

    name: ClassVar[str] = "kubernetes.wait"
    effect: ClassVar[Effect] = "reads"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = True
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {
        "kubernetes": [
            needs.on("apps", "deployments", "deployment", "get"),
            needs.listing("apps", "deployments", optional=needs.NEAR_NAMES),
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"replicas": "how many replicas are ready"}

    cluster: fields.Cluster
    namespace: fields.Namespace
    deployment: Annotated[fields.ObjectName, Field(description="The Deployment's name.")]
    condition: Annotated[
        str | None,
        Field(pattern=r"^[A-Z][A-Za-z]+$", description="A condition's type, like Available; the whole rollout if it is left out."),
    ] = None
    within: Annotated[fields.Duration, Field(description="How long to wait for it.")] = timedelta(minutes=5)
    every: Annotated[fields.Duration, Field(description="How long between two looks.")] = timedelta(seconds=1)

    def targets(self) -> frozenset[Target]:
        """It only reads."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Look once and say how it is now."""
        with connect(context, self.cluster) as api:
            found = rollout.of(objects.read(api, "deployments", self.namespace, self.deployment))
        return Change(summary=f"wait until {self._wanted()}; now: {found}", checked="unchecked")

    def apply(self, context: Context, change: Change) -> Outcome:
        """Look until it holds; PermanentError with what was seen last when it does not hold in time."""
        seen = waiting.until(
            lambda: self._look(context), lambda it: it.holds, context=context, patience=self._patience(), what=self._wanted()
        )
        return Outcome(changed=False, summary=f"{self._wanted()}: {seen}", data={"replicas": seen.ready})

    def probe(self, context: Context, change: Change) -> Probe:
        """It leaves nothing behind: it may look again."""
        return Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """Reading needs no undo."""
        return None

    def _patience(self) -> waiting.Patience:
        return waiting.Patience(within=self.within, every=self.every)

    def _wanted(self) -> str:
        return f"{self.deployment} is {self.condition}" if self.condition else f"the rollout of {self.deployment} is done"

    def _look(self, context: Context) -> Seen:
        try:
            with connect(context, self.cluster) as api:
                found = objects.read(api, "deployments", self.namespace, self.deployment)
        except TemporaryError as error:
            return Seen(holds=False, words=str(error))
        now = rollout.of(found)
        if self.condition is None:
            return Seen(now.is_done, str(now), now.ready)
        held = rollout.condition(found, self.condition)
        words = f"{self.condition}={held.get('status', 'not there')} {held.get('message', '')}".strip()
        return Seen(held.get("status") == "True" and now.is_observed, f"{words} ({now})", now.ready)
