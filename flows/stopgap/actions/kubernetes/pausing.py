"""`kubernetes.pause_rollout` and `kubernetes.resume_rollout`: hold a Deployment's rollout where it is, and let it go on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, Undoes, action
from stopgap.actions.kubernetes import needs, objects, rollout
from stopgap.actions.kubernetes.client import JSON, Client, connect

if TYPE_CHECKING:
    from stopgap.policy.model import ClusterName


@action
class PauseRollout:
    """Hold a Deployment's rollout where it is: Pods of both releases stay, and nothing more is replaced until it is resumed."""

    name: ClassVar[str] = "kubernetes.pause_rollout"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = {"kubernetes": needs.ROLLOUT[:2]}
    outputs: ClassVar[Mapping[str, str]] = {}

    cluster: fields.Cluster
    namespace: fields.Namespace
    deployment: Annotated[fields.ObjectName, Field(description="The Deployment's name.")]

    def targets(self) -> frozenset[Target]:
        """The Deployment."""
        return _targets(self.cluster, self.namespace, self.deployment)

    def plan(self, context: Context) -> Change:
        """Read the Deployment, say how far its rollout is, and let the server try the change."""
        return _plan(context, self, is_paused=True)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send it; the controller takes it up with its next look."""
        with connect(context, self.cluster) as api:
            _send(api, self, change, is_paused=True)
        return Outcome(changed=not change.is_empty, summary=f"{self.deployment}: its rollout is paused")

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the Deployment, and whether it is still paused."""
        with connect(context, self.cluster) as api:
            return objects.probe(api, _read(api, self), is_ours=_is_paused)

    def undo(self, change: Change) -> Action | None:
        """Let it go on, without waiting for its end."""
        if change.is_empty:
            return None
        return ResumeRollout(cluster=self.cluster, namespace=self.namespace, deployment=self.deployment, wait=False)


@action
class ResumeRollout:
    """Let a Deployment's rollout go on, and wait until it is done."""

    name: ClassVar[str] = "kubernetes.resume_rollout"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {"kubernetes": needs.ROLLOUT}
    outputs: ClassVar[Mapping[str, str]] = {}

    cluster: fields.Cluster
    namespace: fields.Namespace
    deployment: Annotated[fields.ObjectName, Field(description="The Deployment's name.")]
    wait: Annotated[bool, Field(description="Wait until the rollout is done.")] = True

    def targets(self) -> frozenset[Target]:
        """The Deployment."""
        return _targets(self.cluster, self.namespace, self.deployment)

    def plan(self, context: Context) -> Change:
        """Read the Deployment, say how far its rollout is, and let the server try the change."""
        return _plan(context, self, is_paused=False)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send it, and wait for the rollout."""
        with connect(context, self.cluster) as api:
            _send(api, self, change, is_paused=False)
            if self.wait:
                rollout.wait(
                    api, self.namespace, self.deployment, is_ours=lambda it: "its rollout is paused again" if _is_paused(it) else ""
                )
        return Outcome(
            changed=not change.is_empty, summary=f"{self.deployment}: its rollout " + ("is done" if self.wait else "goes on again")
        )

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the Deployment, whether it is still not paused, and at its rollout."""
        with connect(context, self.cluster) as api:
            return objects.probe(
                api,
                _read(api, self),
                is_ours=lambda it: not _is_paused(it),
                is_done=lambda it: not self.wait or rollout.of(it).is_done,
            )

    def undo(self, change: Change) -> Action | None:
        """Pause it again: what was replaced meanwhile stays replaced."""
        if change.is_empty:
            return None
        return PauseRollout(cluster=self.cluster, namespace=self.namespace, deployment=self.deployment)


def _targets(cluster: ClusterName, namespace: str, deployment: str) -> frozenset[Target]:
    return frozenset({objects.target(cluster=cluster, namespace=namespace, kind="deployment", name=deployment)})


def _is_paused(found: JSON) -> bool:
    return bool(found["spec"].get("paused"))


def _read(api: Client, step: PauseRollout | ResumeRollout) -> JSON:
    return objects.read(api, "deployments", step.namespace, step.deployment)


def _plan(context: Context, step: PauseRollout | ResumeRollout, *, is_paused: bool) -> Change:
    with connect(context, step.cluster) as api:
        found = _read(api, step)
        checked, notes = objects.check(api, _path(step), _patch(api, is_paused=is_paused, version=""))
    words = {True: "paused", False: "going on"}
    return Change(
        summary=f"{step.deployment}: {'pause' if is_paused else 'resume'} its rollout ({rollout.of(found)})",
        now={"rollout": words[_is_paused(found)]},
        after={"rollout": words[is_paused]},
        material={"template": objects.digest(found["spec"]["template"])},
        checked=checked,
        precondition=found["metadata"]["resourceVersion"],
        notes=notes,
    )


def _send(api: Client, step: PauseRollout | ResumeRollout, change: Change, *, is_paused: bool) -> None:
    if not change.is_empty:
        api.patch(_path(step), _patch(api, is_paused=is_paused, version=change.precondition), dry_run=False)


def _path(step: PauseRollout | ResumeRollout) -> str:
    return objects.path_of("deployments", step.namespace, step.deployment)


def _patch(api: Client, *, is_paused: bool, version: str) -> JSON:
    return {"metadata": objects.marked(api, version=version), "spec": {"paused": is_paused}}
