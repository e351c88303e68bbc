"""The content of files that are kept with incidents, by its SHA-256. What stands on the timeline is the hash: content that was changed is not given out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert

from stopgap.problems import StopgapError
from stopgap.timeline import tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection


class ChangedFileError(StopgapError):
    """The content of a file was changed in the database, so it is not given out."""


class Files:
    """The rows. `connected` opens a transaction."""

    def __init__(self, connected: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connected = connected

    def keep(self, content: bytes) -> str:
        """Keep content, durably, and return its SHA-256 (hex); the same content is kept once."""
        name = hashlib.sha256(content).hexdigest()
        with self._connected() as connection:
            connection.execute(upsert(tables.attachment).values(sha256=name, content=content).on_conflict_do_nothing())
        return name

    def read(self, sha256: str) -> bytes | None:
        """Return content; None when there is none of this hash. ChangedFileError when it is not what was kept."""
        with self._connected() as connection:
            found: bytes | None = connection.scalar(select(tables.attachment.c.content).where(tables.attachment.c.sha256 == sha256))
        if found is not None and hashlib.sha256(found).hexdigest() != sha256:
            raise ChangedFileError
        return found
