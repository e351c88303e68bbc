"""`Request`: what one call to the sandbox's Kubernetes API asks for, read from its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from stopgap.drills.world import kinds, refusals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.drills.world.access import User
    from stopgap.drills.world.kinds import Kind

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call. `name` and `subresource` are empty when the path has none; `body` is parsed JSON."""

    method: str
    kind: Kind
    version: str
    namespace: str
    name: str
    subresource: str
    query: Mapping[str, str]
    content_type: str
    body: Any
    user: User

    @property
    def verb(self) -> str:
        """Return the verb as access rules name it."""
        if self.method in ("GET", "HEAD"):
            return "get" if self.name else "list"
        if self.method == "DELETE":
            return "delete" if self.name else "deletecollection"
        return _VERBS.get(self.method, self.method.lower())

    @property
    def is_dry(self) -> bool:
        """Nothing may be stored."""
        return self.query.get("dryRun") == "All"

    @property
    def resource(self) -> str:
        """Return what access rules call the resource: `group/plural[/subresource]`."""
        tail = f"/{self.subresource}" if self.subresource else ""
        return f"{self.kind.group}/{self.kind.plural}{tail}"


def read(method: str, target: str, *, content_type: str, body: Any, user: User) -> Request:
    """Read a target like `/apis/apps/v1/namespaces/shop/deployments/web/scale?dryRun=All`; Refusal 404 for what the sandbox does not have."""
    group, version, rest = _split(urlsplit(target).path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:  # noqa: PLR2004  /namespaces/NAME/PLURAL; shorter paths mean the namespace itself
        namespace, rest = rest[1], rest[2:]
    kind = next((kind for kind in kinds.KINDS if (kind.group, kind.plural) == (group, rest[0])), None)
    name, subresource = (*rest[1:], "", "")[:2]
    if kind is None or version not in kind.versions or (subresource and subresource not in kind.subresources):
        raise refusals.unknown_path()
    return Request(
        method=method,
        kind=kind,
        version=version,
        namespace=namespace,
        name=name,
        subresource=subresource,
        query=dict(parse_qsl(urlsplit(target).query, keep_blank_values=True)),
        content_type=content_type,
        body=body,
        user=user,
    )


def _split(path: str) -> tuple[str, str, list[str]]:
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:  # noqa: PLR2004  /api/VERSION/PLURAL
        return "", parts[1], parts[2:]
    if parts[0] == "apis" and len(parts) > 3:  # noqa: PLR2004  /apis/GROUP/VERSION/PLURAL
        return parts[1], parts[2], parts[3:]
    raise refusals.unknown_path()
