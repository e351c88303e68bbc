"""What AWS answered, or why it did not, as one of the errors of the contract; a refusal names the action that is not allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap.actions.contract import InDoubtError, PermanentError, TemporaryError
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from stopgap.actions.aws.credentials import Access

FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized"})
STALE = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"})
BUSY = frozenset(
    {
        "LimitExceededException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
    }
)
SERVER_ERRORS = 500
_WHAT_IS_DENIED = re.compile(r"perform:? ([a-z0-9-]+:[A-Za-z]+)")


class RefusedError(PermanentError):
    """AWS refused; `code` is its own word for why."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class ForbiddenError(RefusedError):
    """These credentials may not do this."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for. `may_change` is true when the request, once it has left, may have had its effect."""

    operation: str
    access: Access
    may_change: bool

    def __str__(self) -> str:
        """Render for people: `ecs:UpdateService in account "prod"`."""
        return f"{self.operation} in {self.access}"


def translated(request: Request, error: Exception) -> StopgapError:
    """Return the error of the contract for what botocore raised."""
    from botocore import exceptions, parsers

    if isinstance(error, StopgapError):
        return error
    if isinstance(error, exceptions.ClientError):
        return _answered(request, error.response)
    if isinstance(error, exceptions.SSLError):
        return PermanentError(f"{request}: its address is not trusted ({error}). Nothing was sent.")
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError | exceptions.ProxyConnectionError):
        return TemporaryError(f"{request}: AWS cannot be reached ({error}). Nothing was sent.")
    if isinstance(error, exceptions.HTTPClientError | parsers.ResponseParserError):
        return _lost(request, f"no answer that could be read came ({type(error).__name__}: {error})")
    if isinstance(error, exceptions.BotoCoreError):
        return PermanentError(f"{request}: {error}. Nothing was sent.{_hint(request, error)}")
    raise error


def _answered(request: Request, response: dict[str, Any]) -> StopgapError:
    found = response.get("Error", {})
    code, message = str(found.get("Code", "")), str(found.get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in FORBIDDEN or status == 403 and code not in STALE:  # noqa: PLR2004, RUF021  HTTP's own figure
        return _forbidden(request, code=code, message=message)
    if code in STALE:
        return PermanentError(
            f"{request}: the credentials of {request.access.source} are not valid any more: {message} ({code}). Nothing was changed."
        )
    if code in BUSY or status == 429:  # noqa: PLR2004  too many requests
        return TemporaryError(f"{request}: AWS is busy and took nothing: {message} ({code}).")
    if status >= SERVER_ERRORS:
        return _lost(request, f"AWS answered {status}: {message} ({code})")
    return RefusedError(f"{request} was refused: {message} ({code}).", code=code)


def _forbidden(request: Request, *, code: str, message: str) -> ForbiddenError:
    told = _WHAT_IS_DENIED.search(message)
    action = told[1] if told else request.operation
    return ForbiddenError(
        f"{request} was refused: {message} ({code}).\nAllow the action {action} to {request.access.source}, or use other credentials.",
        code=code,
    )


def _lost(request: Request, why: str) -> StopgapError:
    if request.may_change:
        return InDoubtError(f"{request}: {why}; the request may have been carried out.")
    return TemporaryError(f"{request}: {why}. Nothing was changed.")


def _hint(request: Request, error: Exception) -> str:
    wants_login = "SSO" in type(error).__name__ or "Token" in type(error).__name__
    return f"\nLog in again:  aws sso login --profile {request.access.profile}" if wants_login and request.access.profile else ""
