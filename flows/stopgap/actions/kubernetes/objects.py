"""Reading the objects that actions change, with near names when one is not there, and marking what we change."""

from __future__ import annotations

import difflib
import hashlib
import json
from typing import TYPE_CHECKING, Any

from stopgap.actions.contract import PermanentError, Target
from stopgap.actions.kubernetes.answers import ForbiddenError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Checked
    from stopgap.actions.kubernetes.client import JSON, Client
    from stopgap.policy.model import ClusterName

MARK = "stopgap.dev/mark"


def collection(plural: str, namespace: str) -> str:
    """Return the path of a namespace's objects of one kind."""
    group = {"deployments": "apis/apps/v1", "replicasets": "apis/apps/v1", "horizontalpodautoscalers": "apis/autoscaling/v1"}.get(
        plural, "api/v1"
    )
    return f"/{group}/namespaces/{namespace}/{plural}"


def path_of(plural: str, namespace: str, name: str) -> str:
    """Return an object's path."""
    return f"{collection(plural, namespace)}/{name}"


def target(*, cluster: ClusterName, namespace: str, kind: str, name: str) -> Target:
    """Return the name under which runs lock the object."""
    return Target(f"kubernetes/{cluster}/{namespace}/{kind}/{name}")


def read(api: Client, plural: str, namespace: str, name: str) -> JSON:
    """Read one object; NotFoundError names those that are there."""
    try:
        return api.get(path_of(plural, namespace, name))
    except NotFoundError as error:
        raise _not_found(api, plural, namespace=namespace, name=name) from error


def mark_of(found: JSON) -> str:
    """Return the mark that the last step left on the object; empty if none did."""
    return str((found["metadata"].get("annotations") or {}).get(MARK, ""))


def marked(api: Client, *, version: str = "") -> JSON:
    """Return the metadata of a patch: our mark and, if given, the version the object must still have."""
    metadata: JSON = {"annotations": {MARK: api.context.mark}}
    return {**metadata, "resourceVersion": version} if version else metadata


def check(api: Client, path: str, body: Mapping[str, Any]) -> tuple[Checked, tuple[str, ...]]:
    """Let the server try the patch without doing it (dryRun=All); read-only credentials of a dry run may be unable to ask that."""
    try:
        api.patch(path, body, dry_run=True)
    except ForbiddenError:
        if not api.access.is_read_only:
            raise
        return "predicted", ("not checked by the server: the read-only credentials of this cluster may not even try it",)
    return "server", ()


def digest(value: Any) -> str:
    """Return a short hash of a JSON value: enough to tell two templates or two secret values apart."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _not_found(api: Client, plural: str, *, namespace: str, name: str) -> PermanentError:
    here = f'Namespace "{namespace}" of cluster "{api.access.cluster}"'
    try:
        there = [str(item["metadata"]["name"]) for item in api.get(collection(plural, namespace), limit="500")["items"]]
    except PermanentError:
        return NotFoundError(f'{here} has no {plural.removesuffix("s")} "{name}".')
    if not there:
        return NotFoundError(f'{here} has no {plural.removesuffix("s")} "{name}", and no other; is the namespace right?')
    near = difflib.get_close_matches(name, there, n=3) or sorted(there)[:5]
    return NotFoundError(f'{here} has no {plural.removesuffix("s")} "{name}". It has: {", ".join(near)}.')
