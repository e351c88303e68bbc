"""Who may read the incident pages: basic authentication, which browsers ask for by themselves, or a bearer token, as the receivers take it."""

from __future__ import annotations

import base64
import binascii
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from stopgap.alerts.secrets import is_any
from stopgap.policy.alerting import NoSecretError, Secret
from stopgap.policy.incidents import Reader
from stopgap.timeline import keyfile

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from stopgap.policy.model import Policy

LOG = logging.getLogger("stopgap.web")
FILE = "pages.auth"
NAME = "stopgap"  # of the reader for whom policy says nothing
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="stopgap", charset="UTF-8"', "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Lets readers in. `own` is the secret of this home, good as long as policy names no readers."""

    own: Secret

    def reader(self, policy: Policy, request: Request) -> Reader:
        """Return who asks; HTTPException 401 for anybody else."""
        readers = policy.incidents.readers or {NAME: self._owner(policy)}
        user, password = _given(request.headers.get("authorization", ""))
        for reader in readers.values():
            if password and user in {"", reader.name} and is_any(password, _secrets(reader)):
                return reader
        said = "The incident pages need a name and a password." if not password else "This is not the name and password of a reader."
        raise HTTPException(401, said, headers=_CHALLENGE)

    def _owner(self, policy: Policy) -> Reader:
        """Who has the home's own password sees everything: it lies beside the timeline's key."""
        return Reader(name=NAME, secret=self.own, roles=policy.incidents.restricted)


def door(home: Path) -> Door:
    """Return the door of this home; its password is generated at the first start and stays, 0600."""
    file = home / FILE
    if not file.exists():
        keyfile.write_new(file, secrets.token_urlsafe(24) + "\n")
    return Door(own=Secret(file=file))


def sees_restricted(reader: Reader, policy: Policy) -> bool:
    """Say whether restricted incidents are shown to this reader."""
    return bool(set(reader.roles) & set(policy.incidents.restricted))


def _secrets(reader: Reader) -> tuple[str, ...]:
    try:
        return reader.secret.values()
    except NoSecretError as error:
        LOG.warning("Nobody can read the incident pages as %s: %s", reader.name, error)
        return ()


def _given(header: str) -> tuple[str, str]:
    """Return the name and the password; no name with a bearer token."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return "", value.strip()
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user or "-", password
