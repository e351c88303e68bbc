"""The key of the chain. It is in a file or in the environment, never in the database that it protects."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from stopgap.home import make as make_folder
from stopgap.problems import StopgapError, UsageError

_BYTES = 16


class KeyMissingError(StopgapError):
    """The key with which this timeline is written is not here."""


def load(home: Path) -> bytes | None:
    """Return the key: STOPGAP_TIMELINE_KEY, or the file STOPGAP_TIMELINE_KEY_FILE names, or `<home>/timeline.key`; None without any."""
    if text := os.environ.get("STOPGAP_TIMELINE_KEY"):
        return _checked(text, "STOPGAP_TIMELINE_KEY")
    named = os.environ.get("STOPGAP_TIMELINE_KEY_FILE")
    file = Path(named) if named else home / "timeline.key"
    try:
        return _checked(file.read_text(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError) and not named:
            return None
        raise UsageError(f"The timeline's key cannot be read from {file}: {getattr(error, 'strerror', None) or error}.") from error


def make(home: Path) -> bytes:
    """Write a new key to `<home>/timeline.key`, 0600; when another process was quicker, return its key."""
    file = home / "timeline.key"
    try:
        make_folder(home)
        write_new(file, secrets.token_hex(32) + "\n")
        return _checked(file.read_text(), str(file))
    except OSError as error:
        raise UsageError(
            f"The timeline's key cannot be written to {file}: {error.strerror}.\n"
            "Choose another home:  STOPGAP_HOME=..., or bring a key of your own:  STOPGAP_TIMELINE_KEY_FILE=path/to/timeline.key"
        ) from error


def write_new(file: Path, text: str) -> None:
    """Write a file that does not exist yet, whole or not at all, and never over another's."""
    new = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(new, file)
    new.unlink()


def _checked(text: str, place: str) -> bytes:
    key = text.strip().encode()
    if len(key) < _BYTES:
        raise UsageError(f"The timeline's key in {place} has {len(key)} characters; at least {_BYTES} are needed, better 64 random ones.")
    return key
