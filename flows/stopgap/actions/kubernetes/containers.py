"""The containers of a Deployment's Pod template: finding one, and patching it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.actions.contract import PermanentError
from stopgap.actions.kubernetes import objects

if TYPE_CHECKING:
    from stopgap.actions.kubernetes.client import JSON, Client


def choose(deployment: JSON, name: str | None) -> JSON:
    """Return the container of this name, or the only one; PermanentError names those that there are."""
    found: list[JSON] = deployment["spec"]["template"]["spec"]["containers"]
    names = [str(container["name"]) for container in found]
    if name is None and len(found) == 1:
        return found[0]
    for container in found:
        if container["name"] == name:
            return container
    who = deployment["metadata"]["name"]
    if name is None:
        raise PermanentError(f"{who} has {len(found)} containers: {', '.join(names)}. Name one with `container:`.")
    raise PermanentError(f'{who} has no container "{name}". It has: {", ".join(names)}.')


def patch(api: Client, container: JSON, *, version: str) -> JSON:
    """Return a strategic merge patch that changes one container and carries our mark."""
    return {"metadata": objects.marked(api, version=version), "spec": {"template": {"spec": {"containers": [container]}}}}


def warnings(deployment: JSON) -> tuple[str, ...]:
    """Say what keeps a new template from being rolled out."""
    return ("its rollout is paused: nothing is replaced until it is resumed",) if deployment["spec"].get("paused") else ()
