"""The revisions of a Deployment: which there are, which was good, and how two differ, with values hashed.

Kubernetes keeps no record of whether a revision was ever fully available. A rolling update takes the Pods of older revisions away only as the
new one becomes available: so a revision was good if, when the next one was made, every older one had been emptied. That can be read from the
time at which the ReplicaSets were last written (managedFields). Where it cannot be read, the verdict is "not known", and the human is told.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from stopgap.actions.kubernetes import objects, rollout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopgap.actions.kubernetes.client import JSON, Client


class Verdict(enum.StrEnum):
    """What is known of a revision's health."""

    AVAILABLE = "has available Pods now"
    WAS_GOOD = "was fully available"
    NEVER_GOOD = "was never fully available"
    NOT_KNOWN = "nothing tells whether it was fully available"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One release of a Deployment. `template` is its Pod template without the hash that Kubernetes adds."""

    number: int
    template: JSON
    available: int
    replicas: int
    created: datetime | None
    emptied: datetime | None  # when its ReplicaSet was last written, if it wants no Pods

    @property
    def images(self) -> str:
        """Name the images, for people."""
        return ", ".join(container["image"] for container in self.template["spec"]["containers"])


def of(api: Client, deployment: JSON) -> list[Revision]:
    """Return the Deployment's revisions, the newest first."""
    found = [_read(item) for item in rollout.replica_sets(api, deployment)]
    return sorted(found, key=lambda revision: revision.number, reverse=True)


def current(deployment: JSON, revisions: Sequence[Revision]) -> Revision | None:
    """Return the revision whose template the Deployment has now."""
    number = int((deployment["metadata"].get("annotations") or {}).get(rollout.REVISION, 0))
    return next((revision for revision in revisions if revision.number == number), None)


def last_good(deployment: JSON, revisions: Sequence[Revision], *, before: int) -> tuple[Revision, Verdict] | None:
    """Return the newest revision older than `before` that was good, or of which nothing bad is known, and what is known of it."""
    for revision in revisions:
        if revision.number < before:
            verdict = judge(deployment, revision, revisions)
            if verdict is not Verdict.NEVER_GOOD:
                return revision, verdict
    return None


def judge(deployment: JSON, revision: Revision, revisions: Sequence[Revision]) -> Verdict:
    """Say what is known of a revision's health."""
    if revision.available:
        return Verdict.AVAILABLE
    older = [other for other in revisions if other.number < revision.number]
    newer = [other for other in revisions if other.number > revision.number]
    if not older or not newer or not _empties_only_when_available(deployment):
        return Verdict.NOT_KNOWN
    superseded = min(newer, key=lambda other: other.number).created
    if superseded is None or any(other.replicas == 0 and other.emptied is None for other in older):
        return Verdict.NOT_KNOWN
    was_alone = all(other.emptied is not None and other.emptied <= superseded for other in older)
    return Verdict.WAS_GOOD if was_alone else Verdict.NEVER_GOOD


def differences(now: JSON, after: JSON) -> tuple[dict[str, str], dict[str, str]]:
    """Return, under the same flat keys, what differs between two Pod templates: images as they are, values of the environment hashed."""
    left, right = _flatten(now), _flatten(after)
    keys = sorted(key for key in {*left, *right} if left.get(key) != right.get(key))
    return {key: left.get(key, "-") for key in keys}, {key: right.get(key, "-") for key in keys}


def _flatten(template: JSON) -> dict[str, str]:
    flat: dict[str, str] = {}
    for container in [*(template["spec"].get("initContainers") or ()), *template["spec"]["containers"]]:
        name = container["name"]
        flat[f"{name}: image"] = str(container.get("image", ""))
        for variable in container.get("env") or ():
            flat[f"{name}: env {variable['name']}"] = f"hash {objects.digest({k: v for k, v in variable.items() if k != 'name'})}"
        rest = {key: value for key, value in container.items() if key not in {"name", "image", "env"}}
        flat[f"{name}: other settings"] = f"hash {objects.digest(rest)}"
    rest = {key: value for key, value in template["spec"].items() if key not in {"containers", "initContainers"}}
    flat["pod: other settings"] = f"hash {objects.digest([rest, template.get('metadata', {})])}"
    return flat


def _empties_only_when_available(deployment: JSON) -> bool:
    strategy = deployment["spec"].get("strategy") or {}
    most = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%")
    return bool(strategy.get("type", "RollingUpdate") == "RollingUpdate" and most != "100%")


def _read(replica_set: JSON) -> Revision:
    metadata, spec, status = replica_set["metadata"], replica_set["spec"], replica_set.get("status", {})
    times = [_time(entry.get("time")) for entry in metadata.get("managedFields") or () if entry.get("subresource") != "status"]
    written = max((moment for moment in times if moment is not None), default=None)
    return Revision(
        number=int(metadata["annotations"][rollout.REVISION]),
        template=plain_template(spec["template"]),
        available=int(status.get("availableReplicas", 0)),
        replicas=int(spec.get("replicas", 0)),
        created=_time(metadata.get("creationTimestamp")),
        emptied=written if spec.get("replicas", 0) == 0 else None,
    )


def plain_template(template: JSON) -> JSON:
    """Return a Pod template without the label that the Deployment controller adds to a ReplicaSet's."""
    metadata = template.get("metadata", {})
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != "pod-template-hash"}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
