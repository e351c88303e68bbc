"""Does the sender know the secret? Compared in constant time; nothing here ever says what the right one would be."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

from stopgap.alerts.model import ForbiddenError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopgap.alerts.model import Delivery
    from stopgap.policy.alerting import Source


def require_token(source: Source, delivery: Delivery) -> None:
    """ForbiddenError unless `Authorization` holds the secret, as a bearer token or as the password of basic authentication."""
    if source.secret is None:
        return
    given = delivery.headers.get("authorization", "")
    scheme, _, value = given.partition(" ")
    user, password = _basic(value) if scheme.lower() == "basic" else ("", value if scheme.lower() == "bearer" else "")
    if not password:
        raise ForbiddenError(f"Deliveries of {source.name} need the header  Authorization: Bearer <secret>  or basic authentication.")
    if source.user and not hmac.compare_digest(user.encode(), source.user.encode()):
        raise ForbiddenError(f"This is not the user name that policy.yaml names for {source.name}.")
    if not is_any(password.strip(), source.secret.values()):
        raise ForbiddenError(f"This is not the secret of {source.name}.")


def require_signature(source: Source, delivery: Delivery, *, given: Iterable[str], header: str) -> None:
    """ForbiddenError unless one of `given` is HMAC-SHA-256 (hexadecimal) of the body under the secret."""
    if source.secret is None:
        return
    signatures = [signature.strip().lower() for signature in given]
    if not any(signatures):
        raise ForbiddenError(f"Deliveries of {source.name} need a signature in the header {header}.")
    right = [hmac.new(secret.encode(), delivery.body, hashlib.sha256).hexdigest() for secret in source.secret.values()]
    if not any(is_any(signature, right) for signature in signatures):
        raise ForbiddenError(f"The signature in {header} was not made with the secret of {source.name}, or not of this body.")


def is_any(given: str, right: Iterable[str]) -> bool:
    """Compare with each, all of them in constant time."""
    return sum(hmac.compare_digest(given.encode(), each.encode()) for each in right) > 0


def _basic(value: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
