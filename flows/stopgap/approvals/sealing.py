"""Seal the secrets of one-time codes: AES-256-GCM with a key that is not in the database.

A sealed secret is bound to its person and enrolment, so that nobody can put their own in another's place.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from stopgap import home
from stopgap.problems import StopgapError, UsageError
from stopgap.timeline import keyfile

if TYPE_CHECKING:
    from pathlib import Path

_SHORTEST = 16  # characters of a key
_NONCE = 12  # bytes
_OTHERS = 0o077


class SecretKeyError(StopgapError):
    """The key that seals the secrets of one-time codes is not here."""


def seal(secret: str, *, bound: str, key: bytes) -> bytes:
    """Return the secret as it may lie in a database."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, secret.encode(), bound.encode())


def unseal(sealed: bytes, *, bound: str, key: bytes) -> str:
    """Return the secret; SecretKeyError when the key is another one, or the row another's."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise SecretKeyError(
            f"The secret of {bound} cannot be opened with the key in {_place()}: it was sealed with another key, or somebody changed it.\n"
            "Bring the right key back, or enrol again:  stopgap responder enrol NAME"
        ) from error


def load_key() -> bytes:
    """Return the key: STOPGAP_SECRET_KEY, or the file `<home>/secret.key`; SecretKeyError without any."""
    text = os.environ.get("STOPGAP_SECRET_KEY")
    if text is None:
        file = _file()
        if not file.exists():
            raise SecretKeyError(
                f"The key that seals the secrets of one-time codes is not here: {file}\n"
                "Copy it from the machine on which people were enrolled, or set STOPGAP_SECRET_KEY."
            )
        text = _read(file)
    return _derived(text)


def make_key() -> bytes:
    """Return the key, and write a new one to `<home>/secret.key` (0600) when there is none."""
    if os.environ.get("STOPGAP_SECRET_KEY") is None and not _file().exists():
        try:
            home.make(home.data_folder())
            keyfile.write_new(_file(), secrets.token_hex(32) + "\n")
        except OSError as error:
            raise UsageError(
                f"The key for one-time codes cannot be written to {_file()}: {error.strerror}. Or set STOPGAP_SECRET_KEY."
            ) from error
    return load_key()


def _file() -> Path:
    return home.data_folder() / "secret.key"


def _place() -> str:
    return "STOPGAP_SECRET_KEY" if "STOPGAP_SECRET_KEY" in os.environ else str(_file())


def _read(file: Path) -> str:
    try:
        mode = file.stat().st_mode
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretKeyError(
            f"The key for one-time codes cannot be read from {file}: {getattr(error, 'strerror', None) or error}."
        ) from error
    if mode & _OTHERS:
        raise SecretKeyError(f"{file} can be read by others, so it is not used. Make it yours alone:  chmod 600 {file}")
    return text


def _derived(text: str) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    if len(text.strip()) < _SHORTEST:
        raise SecretKeyError(
            f"The key in {_place()} has {len(text.strip())} characters; at least {_SHORTEST} are needed, better 64 random ones."
        )
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"stopgap one-time codes").derive(text.strip().encode())
