"""The signature of an SNS message: which of its fields are signed, and the certificate that must have signed them."""

from __future__ import annotations

import base64
import binascii
import functools
from typing import TYPE_CHECKING, Any

from stopgap.alerts import fields
from stopgap.alerts.model import ForbiddenError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SUBSCRIPTION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_LONGEST = 100_000  # bytes of a certificate


@functools.lru_cache(maxsize=16)
def certificate(url: str) -> bytes:
    """Fetch a certificate from an address of SNS, which the caller has checked; once. ForbiddenError when it cannot be had."""
    import httpx

    try:
        with httpx.Client(timeout=3, follow_redirects=False) as client:
            answer = client.get(url)
    except httpx.HTTPError as error:
        raise ForbiddenError("The certificate of SNS cannot be fetched now.") from error
    if not answer.is_success or len(answer.content) > _LONGEST:
        raise ForbiddenError("There is no certificate of SNS at that address.")
    return answer.content


def require(message: Mapping[str, Any], pem: bytes) -> None:
    """ForbiddenError unless the certificate's key signed the message."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    names = _NOTIFICATION if message.get("Type") == "Notification" else _SUBSCRIPTION
    signed = "".join(f"{name}\n{message[name]}\n" for name in names if isinstance(message.get(name), str))
    algorithm = hashes.SHA256() if message.get("SignatureVersion") == "2" else hashes.SHA1()  # noqa: S303  version 1 is SNS's own choice
    try:
        key = x509.load_pem_x509_certificate(pem).public_key()
        given = base64.b64decode(fields.text(message.get("Signature")), validate=True)
        if not isinstance(key, rsa.RSAPublicKey):
            raise ForbiddenError("The certificate has no RSA key.")
        key.verify(given, signed.encode(errors="replace"), padding.PKCS1v15(), algorithm)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise ForbiddenError("The signature was not made by SNS, or not of this message.") from error
