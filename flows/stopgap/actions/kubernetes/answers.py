"""What an API server answered, as JSON or as one of the errors of the contract, in words that say who may not do what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stopgap.actions.contract import ConflictError, InDoubtError, PermanentError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.kubernetes.credentials import Access

SERVER_ERRORS = 500


class NotFoundError(PermanentError):
    """The object is not there."""


class ForbiddenError(PermanentError):
    """These credentials may not do this."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. `may_change` is true when the request, once it has left, may have had its effect."""

    method: str
    path: str
    access: Access
    may_change: bool

    def __str__(self) -> str:
        """Render for people: `PATCH /apis/apps/v1/...`."""
        return f"{self.method} {self.path}"


def read(request: Request, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the JSON object of a good answer; raise the right error for another."""
    answer = _json(body)
    if status < 300 and answer is not None:  # noqa: PLR2004  HTTP's own border
        return answer
    message = str((answer or {}).get("message") or body[:200].decode(errors="replace"))
    raise _error(request, status, message, headers)


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _error(request: Request, status: int, message: str, headers: Mapping[str, str]) -> Exception:
    if status >= SERVER_ERRORS:
        return _of_the_server(request, status, message)
    say = {401: _unknown_user, 403: _forbidden, 404: _not_found, 409: _conflict}.get(status)
    if say is not None:
        return say(request, message)
    if status == 429:  # noqa: PLR2004  too many requests
        wait = headers.get("retry-after", "")
        return TemporaryError(f"{_place(request)} is busy: {message}", retry_after=timedelta(seconds=int(wait)) if wait.isdigit() else None)
    return PermanentError(f"{_place(request)} refused {request} with {status}: {message}")


def _of_the_server(request: Request, status: int, message: str) -> Exception:
    if request.may_change:
        return InDoubtError(f"{request}: {_place(request)} answered {status}: {message}; the request may have been carried out.")
    return TemporaryError(f"{request}: {_place(request)} answered {status}: {message}. Nothing was changed.")


def _unknown_user(request: Request, message: str) -> Exception:
    return PermanentError(
        f"{_place(request)} did not accept the credentials of {request.access.source}: {message}\n"
        f"If that context uses a credential plugin, the plugin gave nothing; a dry run starts no programs: give the cluster a `read_only` kubeconfig with a token."
    )


def _forbidden(request: Request, message: str) -> Exception:
    return ForbiddenError(
        f"{_place(request)} refused {request}: {message}\nGive the user of {request.access.source} this permission, or use other credentials."
    )


def _not_found(request: Request, message: str) -> Exception:
    return NotFoundError(f"{_place(request)} has no {request.path.rsplit('/', 1)[-1]}: {message}")


def _conflict(request: Request, message: str) -> Exception:
    return ConflictError(f"{request}: the object changed since it was read; nothing was written. {message}")


def _place(request: Request) -> str:
    return f'Cluster "{request.access.cluster}" ({request.access.url})'
