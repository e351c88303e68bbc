"""Reading the objects that actions change, with near names when one is not there, and marking what we change."""

from __future__ import annotations

import difflib
import hashlib
import json
from typing import TYPE_CHECKING, Any

from stopgap.actions.contract import PermanentError, Probe, Target
from stopgap.actions.kubernetes.answers import ForbiddenError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stopgap.actions.contract import Checked
    from stopgap.actions.kubernetes.client import JSON, Client
    from stopgap.policy.model import ClusterName

MARK = "stopgap.dev/mark"
_GROUPS = {
    "cronjobs": "apis/batch/v1",
    "daemonsets": "apis/apps/v1",
    "deployments": "apis/apps/v1",
    "horizontalpodautoscalers": "apis/autoscaling/v1",
    "jobs": "apis/batch/v1",
    "replicasets": "apis/apps/v1",
    "statefulsets": "apis/apps/v1",
}


def collection(plural: str, namespace: str, *, group: str = "") -> str:
    """Return the path of a namespace's objects of one kind; of the cluster's, when there is no namespace."""
    place = f"namespaces/{namespace}/" if namespace else ""
    return f"/{group or _GROUPS.get(plural, 'api/v1')}/{place}{plural}"


def path_of(plural: str, namespace: str, name: str, *, group: str = "") -> str:
    """Return an object's path."""
    return f"{collection(plural, namespace, group=group)}/{name}"


def served(api: Client, group: str) -> str:
    """Return the group with the version that the cluster prefers, like `apis/policy/v1`; NotFoundError when it does not serve it."""
    return f"apis/{api.get(f'/apis/{group}')['preferredVersion']['groupVersion']}"


def target(*, cluster: ClusterName, namespace: str, kind: str, name: str) -> Target:
    """Return the name under which runs lock the object; an object of the cluster itself has no namespace."""
    return Target("/".join(part for part in ("kubernetes", cluster, namespace, kind, name) if part))


def read(api: Client, plural: str, namespace: str, name: str, *, group: str = "") -> JSON:
    """Read one object; NotFoundError names those that are there."""
    try:
        return api.get(path_of(plural, namespace, name, group=group))
    except NotFoundError as error:
        raise _not_found(api, collection(plural, namespace, group=group), namespace=namespace, name=name) from error


def mark_of(found: JSON) -> str:
    """Return the mark that the last step left on the object; empty if none did."""
    return str((found["metadata"].get("annotations") or {}).get(MARK, ""))


def is_marked_by_step(api: Client, found: JSON) -> bool:
    """Say whether this very step of this very run left its mark, in this attempt or in an earlier one."""
    return mark_of(found).rpartition("/")[0] == api.context.mark.rpartition("/")[0]


def marked(api: Client, *, version: str = "") -> JSON:
    """Return the metadata of a patch: our mark and, if given, the version the object must still have."""
    metadata: JSON = {"annotations": {MARK: api.context.mark}}
    return {**metadata, "resourceVersion": version} if version else metadata


def check(api: Client, path: str, body: Mapping[str, Any] | list[JSON]) -> tuple[Checked, tuple[str, ...]]:
    """Let the server try the patch without doing it (dryRun=All); read-only credentials of a dry run may be unable to ask that."""
    try:
        api.patch(path, body, dry_run=True)
    except ForbiddenError:
        if not api.access.is_read_only:
            raise
        return "predicted", ("not checked by the server: the read-only credentials of this cluster may not even try it",)
    return "server", ()


def stale_unless(version: str) -> list[JSON]:
    """Return the part of a JSON patch that makes it a conflict when the object is no longer of this version."""
    return [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}] if version else []


def probe(api: Client, found: JSON, *, is_ours: Callable[[JSON], bool], is_done: Callable[[JSON], bool] = lambda _: True) -> Probe:
    """Judge an effect on one object: by our mark, by whether it is still as we left it, and by whether what follows from it is done."""
    if mark_of(found) != api.context.mark:
        return Probe.NOT_DONE
    if not is_ours(found):
        return Probe.UNKNOWN  # it was ours, and somebody has changed it since
    return Probe.DONE if is_done(found) else Probe.IN_PROGRESS


def digest(value: Any) -> str:
    """Return a short hash of a JSON value: enough to tell two templates or two secret values apart."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _not_found(api: Client, path: str, *, namespace: str, name: str) -> PermanentError:
    cluster = f'luster "{api.access.cluster}"'
    here = f'Namespace "{namespace}" of c{cluster}' if namespace else f"C{cluster}"
    kind = path.rsplit("/", 1)[-1].removesuffix("s")
    try:
        there = [str(item["metadata"]["name"]) for item in api.get(path, limit="500")["items"]]
    except PermanentError:
        return NotFoundError(f'{here} has no {kind} "{name}".')
    if not there:
        right = "; is the namespace right?" if namespace else "."
        return NotFoundError(f'{here} has no {kind} "{name}", and no other{right}')
    near = difflib.get_close_matches(name, there, n=3) or sorted(there)[:5]
    return NotFoundError(f'{here} has no {kind} "{name}". It has: {", ".join(near)}.')
