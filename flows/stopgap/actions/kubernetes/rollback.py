"""`kubernetes.rollback`: give a Deployment the Pod template of an earlier revision."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
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
from stopgap.actions.kubernetes import needs, objects, revisions, rollout
from stopgap.actions.kubernetes.client import JSON, Client, connect


@action
class Rollback:
    """Take a Deployment back to an earlier revision, by default the last good one, and wait until it runs."""

    name: ClassVar[str] = "kubernetes.rollback"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {"kubernetes": needs.REVISIONS}
    outputs: ClassVar[Mapping[str, str]] = {"revision": "the revision whose template it has now", "images": "its images"}

    cluster: fields.Cluster
    namespace: fields.Namespace
    deployment: Annotated[fields.ObjectName, Field(description="The Deployment's name.")]
    revision: Annotated[
        int | None, Field(ge=1, description="The revision to go to; the newest older one that was fully available if it is left out.")
    ] = None

    def targets(self) -> frozenset[Target]:
        """The Deployment."""
        return frozenset({objects.target(cluster=self.cluster, namespace=self.namespace, kind="deployment", name=self.deployment)})

    def plan(self, context: Context) -> Change:
        """Find the revision, show how it differs, and let the server try the change."""
        with connect(context, self.cluster) as api:
            found = rollout.settled(api, self.namespace, self.deployment)
            known = revisions.of(api, found)
            wanted, notes = self._choose(found, known)
            checked, more = objects.check(api, self._path(), self._patch(api, found, wanted.template))
        present = revisions.current(found, known)
        number = present.number if present else 0
        now, after = revisions.differences(found["spec"]["template"], wanted.template)
        arrow = f"{_images(found)} -> {wanted.images}" if _images(found) != wanted.images else wanted.images
        return Change(
            summary=f"{self.deployment}: revision {number} -> {wanted.number} ({arrow})",
            now=now,
            after=after,
            material={"template": objects.digest(found["spec"]["template"]), "goal": objects.digest(wanted.template)},
            checked=checked,
            undo={"revision": number, "wanted": wanted.number, "template": objects.digest(wanted.template)},
            precondition=found["metadata"]["resourceVersion"],
            notes=(*notes, *more),
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the revision's template and wait until it runs."""
        with connect(context, self.cluster) as api:
            if not change.is_empty:
                self._send(api, change)
            found = rollout.wait(api, self.namespace, self.deployment, is_ours=lambda it: _disturbed(it, change))
        number = int(found["metadata"]["annotations"].get(rollout.REVISION, 0))
        data = {"revision": number, "images": _images(found)}
        return Outcome(changed=not change.is_empty, summary=f"{change.summary}; it runs as revision {number}", data=data)

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the Deployment, compare its template with the revision's, then look at the rollout."""
        with connect(context, self.cluster) as api:
            found = objects.read(api, "deployments", self.namespace, self.deployment)
        if objects.mark_of(found) != context.mark:
            return Probe.NOT_DONE
        if _disturbed(found, change):
            return Probe.UNKNOWN  # it was ours, and somebody has changed it since
        return Probe.DONE if rollout.of(found).is_done else Probe.IN_PROGRESS

    def undo(self, change: Change) -> Action | None:
        """Roll forward to the revision that was."""
        number = int(change.undo.get("revision", 0))
        if change.is_empty or not number:
            return None
        return Rollback(cluster=self.cluster, namespace=self.namespace, deployment=self.deployment, revision=number)

    def _path(self) -> str:
        return objects.path_of("deployments", self.namespace, self.deployment)

    def _choose(self, found: JSON, known: list[revisions.Revision]) -> tuple[revisions.Revision, tuple[str, ...]]:
        numbers = ", ".join(str(revision.number) for revision in known) or "none"
        if self.revision is not None:
            wanted = next((revision for revision in known if revision.number == self.revision), None)
            if wanted is None:
                raise PermanentError(f"{self.deployment} has no revision {self.revision}. Kubernetes still keeps: {numbers}.")
            return wanted, ()
        present = revisions.current(found, known)
        best = revisions.last_good(found, known, before=present.number) if present else None
        if best is None:
            raise PermanentError(
                f"{self.deployment} has no older revision that was good. Kubernetes still keeps: {numbers}. Name one with `revision:`."
            )
        return best[0], (
            f"revision {best[0].number} {best[1]}"
            if best[1] is not revisions.Verdict.NOT_KNOWN
            else f"of revision {best[0].number}, {best[1]}",
        )

    def _send(self, api: Client, change: Change) -> None:
        found = objects.read(api, "deployments", self.namespace, self.deployment)
        wanted = next((it for it in revisions.of(api, found) if it.number == change.undo["wanted"]), None)
        if wanted is None or objects.digest(wanted.template) != change.undo["template"]:
            raise ConflictError(f"{self.deployment}: revision {change.undo['wanted']} is no longer what was planned; nothing was written.")
        api.patch(self._path(), self._patch(api, found, wanted.template, version=change.precondition), dry_run=False)

    def _patch(self, api: Client, found: JSON, template: JSON, *, version: str = "") -> Any:
        annotations = {**(found["metadata"].get("annotations") or {}), objects.MARK: api.context.mark}
        patch = [
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "add", "path": "/metadata/annotations", "value": annotations},
        ]
        return [*patch, {"op": "replace", "path": "/metadata/resourceVersion", "value": version}] if version else patch


def _disturbed(found: JSON, change: Change) -> str:
    if change.is_empty or objects.digest(revisions.plain_template(found["spec"]["template"])) == change.undo["template"]:
        return ""
    return f"its Pod template is no longer that of revision {change.undo['wanted']}"


def _images(deployment: JSON) -> str:
    return ", ".join(container["image"] for container in deployment["spec"]["template"]["spec"]["containers"])
