"""`kubernetes.set_env`: set environment variables in a Deployment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, Undoes, action
from stopgap.actions.kubernetes import containers, needs, objects, rollout
from stopgap.actions.kubernetes.client import JSON, Client, connect
from stopgap.actions.kubernetes.rollback import Rollback

NONE = "-"


@action
class SetEnv:
    """Set environment variables of a container of a Deployment, and wait until every Pod has them. Values are shown as hashes."""

    name: ClassVar[str] = "kubernetes.set_env"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "depends"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {"kubernetes": needs.REVISIONS}
    outputs: ClassVar[Mapping[str, str]] = {"variables": "the names of the variables that were changed"}

    cluster: fields.Cluster
    namespace: fields.Namespace
    deployment: Annotated[fields.ObjectName, Field(description="The Deployment's name.")]
    env: Annotated[dict[str, str | None], Field(min_length=1, description="Variables and their values; null takes a variable away.")]
    container: Annotated[fields.ObjectName | None, Field(description="The container; may be left out when there is only one.")] = None

    def targets(self) -> frozenset[Target]:
        """The Deployment."""
        return frozenset({objects.target(cluster=self.cluster, namespace=self.namespace, kind="deployment", name=self.deployment)})

    def plan(self, context: Context) -> Change:
        """Read the Deployment, compare hashes of the values, and let the server try the change."""
        with connect(context, self.cluster) as api:
            found = rollout.settled(api, self.namespace, self.deployment)
            container = containers.choose(found, self.container)
            checked, notes = objects.check(api, self._path(), self._patch(api, container["name"], version=""))
        now, after = self._hashes(container), {key: _hash({"value": value}) if value is not None else NONE for key, value in self._keyed()}
        changed = sorted(key.rsplit(" ", 1)[-1] for key in after if now[key] != after[key])
        revision = int((found["metadata"].get("annotations") or {}).get(rollout.REVISION, 0))
        return Change(
            summary=f"{self.deployment}: set {', '.join(changed) or 'nothing'} in {container['name']}",
            now=now,
            after=after,
            material={"template": objects.digest(found["spec"]["template"])},
            checked=checked,
            undo={"revision": revision, "container": container["name"]},
            precondition=found["metadata"]["resourceVersion"],
            notes=(*notes, *containers.warnings(found)),
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the values and wait until every Pod has them."""
        with connect(context, self.cluster) as api:
            if not change.is_empty:
                api.patch(self._path(), self._patch(api, change.undo["container"], version=change.precondition), dry_run=False)
            rollout.wait(api, self.namespace, self.deployment, is_ours=lambda found: self._disturbed(found, change))
        return Outcome(changed=not change.is_empty, summary=f"{change.summary}; every Pod has it", data={"variables": sorted(self.env)})

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the Deployment, compare hashes of the values, then look at the rollout."""
        with connect(context, self.cluster) as api:
            found = objects.read(api, "deployments", self.namespace, self.deployment)
            return objects.probe(api, found, is_ours=lambda it: not self._disturbed(it, change), is_done=lambda it: rollout.of(it).is_done)

    def undo(self, change: Change) -> Action | None:
        """Roll back to the revision that was: the values themselves are kept nowhere but in Kubernetes."""
        number = int(change.undo["revision"])
        if change.is_empty or not number:
            return None
        return Rollback(cluster=self.cluster, namespace=self.namespace, deployment=self.deployment, revision=number)

    def _path(self) -> str:
        return objects.path_of("deployments", self.namespace, self.deployment)

    def _patch(self, api: Client, container: str, *, version: str) -> JSON:
        env = [
            {"name": key, "$patch": "delete"} if value is None else {"name": key, "value": value, "valueFrom": None}
            for key, value in self.env.items()
        ]
        return containers.patch(api, {"name": container, "env": env}, version=version)

    def _keyed(self) -> list[tuple[str, str | None]]:
        return [(f"env {key}", value) for key, value in sorted(self.env.items())]

    def _hashes(self, container: JSON) -> dict[str, str]:
        there = {item["name"]: {key: value for key, value in item.items() if key != "name"} for item in container.get("env") or ()}
        return {f"env {key}": _hash(there[key] or {"value": ""}) if key in there else NONE for key in sorted(self.env)}

    def _disturbed(self, found: JSON, change: Change) -> str:
        now = self._hashes(containers.choose(found, change.undo["container"]))
        moved = sorted(key for key in now if now[key] != change.after[key])
        return f"{', '.join(moved)} is no longer what this step set" if moved else ""


def _hash(value: Mapping[str, Any]) -> str:
    return f"hash {objects.digest(dict(value))}"
