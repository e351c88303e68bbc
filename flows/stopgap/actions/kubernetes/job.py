"""`kubernetes.job`: run a Job from a template and wait for its end."""

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
from stopgap.actions.kubernetes import needs, objects, watching
from stopgap.actions.kubernetes.answers import ForbiddenError, NotFoundError
from stopgap.actions.kubernetes.client import JSON, Client, connect

KEPT = 7 * 24 * 3600  # seconds for which a finished Job stays, at least: its being there is how a probe knows that it ran
LONGEST = 50  # characters of the template's name in the Job's name, which may have 63


@action
class Job:
    """Run a Job, from the template of a CronJob or one written in the step, and wait until it has completed."""

    name: ClassVar[str] = "kubernetes.job"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=30)
    permissions: ClassVar[Mapping[str, Any]] = {
        "kubernetes": [
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create"]},
            needs.on("batch", "cronjobs", "cronjob", "get"),
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"job": "the Job's name", "succeeded": "how many of its Pods succeeded"}

    cluster: fields.Cluster
    namespace: fields.Namespace
    cronjob: Annotated[fields.ObjectName | None, Field(description="The CronJob whose template is run.")] = None
    job: Annotated[
        fields.ObjectName | None, Field(max_length=LONGEST, description="What the Job's name begins with, when `template` is given.")
    ] = None
    template: Annotated[dict[str, Any] | None, Field(description="The Job's spec, as Kubernetes writes it.")] = None

    def __post_init__(self) -> None:
        """Refuse what leaves open which template is meant."""
        if (self.cronjob is None) == (self.template is None):
            raise ValueError('give either "cronjob" or "template"')
        if self.template is not None and self.job is None:
            raise ValueError('"template" needs a "job" that names what is run')

    def targets(self) -> frozenset[Target]:
        """What is run: two runs never run it at once."""
        kind = "cronjob" if self.cronjob else "job"
        return frozenset({objects.target(cluster=self.cluster, namespace=self.namespace, kind=kind, name=self._base)})

    def plan(self, context: Context) -> Change:
        """Read the template and let the server try the Job."""
        with connect(context, self.cluster) as api:
            spec = self._spec(api)
            checked, notes = self._check(api, spec)
        containers = spec["template"]["spec"]["containers"]
        shown = {f"{it['name']}: runs": _command(it) for it in containers}
        return Change(
            summary=f"{self._base}: run a Job ({', '.join(it['image'] for it in containers)})",
            now=dict.fromkeys(["job", *shown], "-"),
            after={"job": f"run from {'the CronJob ' if self.cronjob else ''}{self._base}", **shown},
            material={"template": objects.digest(spec)},
            checked=checked,
            undo={"template": objects.digest(spec)},
            notes=notes,
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Create the Job under a name that is this attempt's alone, and wait until it has completed."""
        with connect(context, self.cluster) as api:
            self._create(api, change)
            seen = watching.until(context, lambda: _look(api.get(self._path(api))), what=self._base)
            name = self._named(api)
        return Outcome(changed=True, summary=f"{name}: {seen.words}", data={"job": name, "succeeded": seen.count})

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for the Job under this attempt's name: a Job that failed is for a human to judge."""
        with connect(context, self.cluster) as api:
            try:
                found = api.get(self._path(api))
            except NotFoundError:
                return Probe.NOT_DONE
        try:
            return Probe.DONE if _look(found).is_done else Probe.IN_PROGRESS
        except PermanentError:
            return Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """What a Job did, nobody takes back."""
        return None

    @property
    def _base(self) -> str:
        return self.cronjob or self.job or ""

    def _named(self, api: Client) -> str:
        return f"{self._base[:LONGEST].rstrip('-.')}-{objects.digest(api.context.mark)}"

    def _path(self, api: Client) -> str:
        return objects.path_of("jobs", self.namespace, self._named(api))

    def _spec(self, api: Client) -> JSON:
        spec = dict(self.template) if self.template is not None else _template_of(api, self.namespace, self.cronjob or "")
        if not isinstance(spec.get("template", {}).get("spec", {}).get("containers"), list):
            raise PermanentError(f"{self._base}: its template has no template.spec.containers, so it is no Job's spec.")
        return lasting(spec)

    def _body(self, api: Client, spec: JSON) -> JSON:
        metadata = {
            "name": self._named(api),
            "annotations": {objects.MARK: api.context.mark},
            "labels": {"app.kubernetes.io/managed-by": "stopgap"},
        }
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}

    def _check(self, api: Client, spec: JSON) -> Any:
        try:
            api.post(objects.collection("jobs", self.namespace), self._body(api, spec), dry_run=True)
        except ForbiddenError:
            if not api.access.is_read_only:
                raise
            return "predicted", ("not checked by the server: the read-only credentials of this cluster may not even try it",)
        except ConflictError:
            return "server", (f"{self._named(api)} is there already",)
        return "server", ()

    def _create(self, api: Client, change: Change) -> None:
        spec = self._spec(api)
        if objects.digest(spec) != change.undo["template"]:
            raise ConflictError(f"{self._base}: its template is no longer what was planned; nothing was run.")
        try:
            api.post(objects.collection("jobs", self.namespace), self._body(api, spec), dry_run=False)
        except ConflictError:
            if objects.mark_of(api.get(self._path(api))) != api.context.mark:
                raise PermanentError(f"{self._named(api)}: there is a Job of this name that is not ours.") from None


def lasting(spec: JSON) -> JSON:
    """Return the spec with a longer life after the end, where it names one: a Job that is gone could not tell a probe that it ran."""
    named = spec.get("ttlSecondsAfterFinished")
    return {**spec, "ttlSecondsAfterFinished": max(int(named), KEPT)} if named is not None else spec


def _template_of(api: Client, namespace: str, cronjob: str) -> JSON:
    try:
        found = api.get(objects.path_of("cronjobs", namespace, cronjob))
    except NotFoundError:  # before Kubernetes 1.21, CronJobs were batch/v1beta1 alone
        found = objects.read(api, "cronjobs", namespace, cronjob, group="apis/batch/v1beta1")
    spec: JSON = found["spec"]["jobTemplate"]["spec"]
    return spec


def _command(container: JSON) -> str:
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    return " ".join([container["image"], *map(str, words)])


def _look(found: JSON) -> watching.Look:
    status = found.get("status", {})
    held = {item["type"]: item for item in status.get("conditions") or () if item["status"] == "True"}
    if "Failed" in held:
        raise PermanentError(
            f"{found['metadata']['name']} failed: {held['Failed'].get('reason', '')}: {held['Failed'].get('message', '')}."
        )
    counts = {key: int(status.get(key, 0)) for key in ("active", "succeeded", "failed")}
    words = ", ".join(f"{count} {key}" for key, count in counts.items() if count) or "no Pod yet"
    return watching.Look("Complete" in held, "completed" if "Complete" in held else words, counts["succeeded"])
