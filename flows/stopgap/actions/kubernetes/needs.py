"""Permissions that several actions need, in RBAC's own words."""

from __future__ import annotations

from typing import Any

Rules = list[dict[str, Any]]

NEAR_NAMES = "a wrong name is answered without the near ones"
WHY_STUCK = "a rollout that cannot go on ends at its deadline, without saying why"


def on(group: str, resource: str, field: str, *verbs: str) -> dict[str, Any]:
    """Allow these verbs on the one object that the step names in `field`."""
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs), "resourceNames": [f"{{{field}}}"]}


def listing(group: str, resource: str, *, optional: str = "") -> dict[str, Any]:
    """Allow to list; RBAC cannot hold that to one object."""
    rule: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": ["list"]}
    return {**rule, "optional": optional} if optional else rule


ROLLOUT: Rules = [
    on("apps", "deployments", "deployment", "get", "patch"),
    listing("apps", "deployments", optional=NEAR_NAMES),
    listing("apps", "replicasets", optional=WHY_STUCK),
    listing("", "pods", optional=WHY_STUCK),
]
REVISIONS: Rules = [
    on("apps", "deployments", "deployment", "get", "patch"),
    listing("apps", "replicasets"),
    listing("apps", "deployments", optional=NEAR_NAMES),
    listing("", "pods", optional=WHY_STUCK),
]
