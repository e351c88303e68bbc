"""Bring a database to the tables this version works with; one quick query when it is there already."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_FOLDER = Path(__file__).parent / "migrations"
_MIGRATING = 7_021_816  # an advisory lock of ours: many processes may start at once
_OLDEST_SERVER = 140000


class DatabaseTooNewError(StopgapError):
    """The timeline's database was written by a newer stopgap."""


def newest() -> str:
    """Return the number of the newest migration, from the names of their files."""
    return max(found[0] for path in (_FOLDER / "versions").glob("*.py") if (found := re.match(r"[0-9]{4}", path.name)))


def to_newest(engine: Engine) -> None:
    """Migrate, unless there is nothing to do. Safe in many processes at once."""
    with engine.begin() as connection:
        if _version(connection) == newest():
            return
    with engine.begin() as connection:
        _require_server(connection)
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATING})
        found = _version(connection)
        if found and found > newest():
            raise DatabaseTooNewError(
                f"The timeline's database is at version {found}, and this stopgap knows versions up to {newest()}.\nInstall the newer stopgap again."
            )
        if found != newest():
            _upgrade(connection)


def _version(connection: Connection) -> str | None:
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _require_server(connection: Connection) -> None:
    number = int(connection.scalar(text("SHOW server_version_num")) or 0)
    if number < _OLDEST_SERVER:
        raise StopgapError(f"The timeline needs PostgreSQL 14 or newer; this server is {number // 10000}.{number % 10000}.")


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")
