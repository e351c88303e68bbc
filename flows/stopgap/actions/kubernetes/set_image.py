"""`kubernetes.set_image`: run another image in a Deployment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, Undoes, action
from stopgap.actions.kubernetes import containers, needs, objects, rollout
from stopgap.actions.kubernetes.client import JSON, Client, connect


@action
class SetImage:
    """Give a container of a Deployment another image, and wait until every Pod runs it."""

    name: ClassVar[str] = "kubernetes.set_image"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {"kubernetes": needs.ROLLOUT}
    outputs: ClassVar[Mapping[str, str]] = {"image": "the image it runs now", "before": "the image it ran before"}

    cluster: fields.Cluster
    namespace: fields.Namespace
    deployment: Annotated[fields.ObjectName, Field(description="The Deployment's name.")]
    image: Annotated[str, Field(pattern=r"^\S+$", max_length=500, description="The image, best with a digest: shop/web@sha256:...")]
    container: Annotated[fields.ObjectName | None, Field(description="The container; may be left out when there is only one.")] = None

    def targets(self) -> frozenset[Target]:
        """The Deployment."""
        return frozenset({objects.target(cluster=self.cluster, namespace=self.namespace, kind="deployment", name=self.deployment)})

    def plan(self, context: Context) -> Change:
        """Read the Deployment and let the server try the change."""
        with connect(context, self.cluster) as api:
            found = objects.read(api, "deployments", self.namespace, self.deployment)
            container = containers.choose(found, self.container)
            checked, notes = objects.check(api, self._path(), self._patch(api, container["name"], version=""))
        key = f"{container['name']}: image"
        return Change(
            summary=f"{self.deployment}: {container['image']} -> {self.image}",
            now={key: container["image"]},
            after={key: self.image},
            material={"template": objects.digest(found["spec"]["template"])},
            checked=checked,
            undo={"image": container["image"], "container": container["name"]},
            precondition=found["metadata"]["resourceVersion"],
            notes=(*notes, *containers.warnings(found)),
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the image and wait until every Pod runs it."""
        with connect(context, self.cluster) as api:
            if not change.is_empty:
                api.patch(self._path(), self._patch(api, change.undo["container"], version=change.precondition), dry_run=False)
            rollout.wait(api, self.namespace, self.deployment, is_ours=lambda found: self._disturbed(found, change))
        data = {"image": self.image, "before": change.undo["image"]}
        return Outcome(changed=not change.is_empty, summary=f"{change.summary}; every Pod runs it", data=data)

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the Deployment, compare the image, then look at the rollout."""
        with connect(context, self.cluster) as api:
            found = objects.read(api, "deployments", self.namespace, self.deployment)
            return objects.probe(api, found, is_ours=lambda it: not self._disturbed(it, change), is_done=lambda it: rollout.of(it).is_done)

    def undo(self, change: Change) -> Action | None:
        """Go back to the image that was."""
        if change.is_empty:
            return None
        return SetImage(
            cluster=self.cluster,
            namespace=self.namespace,
            deployment=self.deployment,
            image=change.undo["image"],
            container=change.undo["container"],
        )

    def _path(self) -> str:
        return objects.path_of("deployments", self.namespace, self.deployment)

    def _patch(self, api: Client, container: str, *, version: str) -> JSON:
        return containers.patch(api, {"name": container, "image": self.image}, version=version)

    def _disturbed(self, found: JSON, change: Change) -> str:
        image = containers.choose(found, change.undo["container"])["image"]
        return "" if image == self.image else f"its image is {image} and not {self.image}"
