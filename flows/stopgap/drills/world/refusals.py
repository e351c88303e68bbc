"""`Refusal`: the sandbox says no the way a Kubernetes API server does, as a Status object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stopgap.drills.world.kinds import Kind
    from stopgap.drills.world.request import Request


class Refusal(Exception):  # noqa: N818  an answer of the server, not an error of ours
    """An answer with `code`, whose body is the Status object `to_json` gives."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details or {}

    def to_json(self) -> dict[str, Any]:
        """Return the Status object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def unauthorized() -> Refusal:
    """The token is missing or unknown."""
    return Refusal(401, "Unauthorized", "Unauthorized")


def unknown_path() -> Refusal:
    """The sandbox, like a server without that API, has no such resource."""
    return Refusal(404, "NotFound", "the server could not find the requested resource")


def not_found(kind: Kind, name: str) -> Refusal:
    """There is no object of that name."""
    return Refusal(404, "NotFound", f'{kind.qualified} "{name}" not found', _details(kind, name))


def already_exists(kind: Kind, name: str) -> Refusal:
    """Another object has that name."""
    return Refusal(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str) -> Refusal:
    """The resourceVersion that was sent is not the object's present one."""
    advice = "the object has been modified; please apply your changes to the latest version and try again"
    return Refusal(409, "Conflict", f'Operation cannot be fulfilled on {kind.qualified} "{name}": {advice}', _details(kind, name))


def forbidden(request: Request) -> Refusal:
    """The user may not do that."""
    kind, name = request.kind, request.name
    namespace = name if kind.plural == "namespaces" else request.namespace
    subject = f'{kind.qualified} "{name}"' if name else kind.qualified
    resource = f"{kind.plural}/{request.subresource}" if request.subresource else kind.plural
    scope = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
    asked = f'cannot {request.verb} resource "{resource}" in API group "{kind.group}"{scope}'
    return Refusal(403, "Forbidden", f'{subject} is forbidden: User "{request.user}" {asked}', _details(kind, name))


def invalid(kind: Kind, name: str, causes: list[tuple[str, str, str]]) -> Refusal:
    """The object does not hold together; each cause is (reason, field, message)."""
    texts = [f"{field}: {message}" for _, field, message in causes]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind.name}.{kind.group}" if kind.group else kind.name
    details = {
        "name": name,
        "kind": kind.name,
        "causes": [{"reason": reason, "message": message, "field": field} for reason, field, message in causes],
    }
    if kind.group:
        details["group"] = kind.group
    return Refusal(422, "Invalid", f'{qualified} "{name}" is invalid: {listed}', details)


def bad_request(message: str) -> Refusal:
    """The request can't be read."""
    return Refusal(400, "BadRequest", message)


def unsupported_patch(content_type: str) -> Refusal:
    """The sandbox knows three patch types."""
    known = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"
    message = f'the body of the request was in an unknown format - "{content_type}"; accepted media types include: {known}'
    return Refusal(415, "UnsupportedMediaType", message)


def not_allowed() -> Refusal:
    """The resource does not take that verb."""
    return Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def _details(kind: Kind, name: str) -> dict[str, Any]:
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return {key: value for key, value in details.items() if value}
