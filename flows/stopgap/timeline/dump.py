"""Save the timeline's database to a file and bring it back, with the server's own pg_dump and pg_restore.

The key of the chain is not in the file: who has a backup can read the timeline and cannot rewrite it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from sqlalchemy import URL, func, make_url, select

from stopgap.problems import StopgapError, UsageError
from stopgap.timeline import binaries, tables
from stopgap.timeline.store import create_engine


class DumpError(StopgapError):
    """The timeline's database could not be saved or brought back."""


def backup(url: str, file: Path) -> None:
    """Write the database to a file, 0600; whole or not at all."""
    try:
        with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=".stopgap-") as scratch:
            new = Path(scratch) / "dump"
            _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={new}")
            new.chmod(0o600)
            new.replace(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error


def restore(url: str, file: Path) -> None:
    """Bring a backup back into a database without entries; all of it or nothing."""
    if not file.is_file():
        raise UsageError(f"There is no file {file}.")
    count = _entries(url)
    if count:
        raise DumpError(
            f"The timeline already has {count:,} entries, and a backup never replaces any.\n"
            "Move the folder postgres in stopgap's home away, or name an empty database:  STOPGAP_DATABASE_URL=postgresql://..."
        )
    _run("pg_restore", url, "--no-owner", "--no-privileges", "--clean", "--if-exists", "--single-transaction", os.fspath(file))


def _entries(url: str) -> int:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if not engine.dialect.has_table(connection, "entry"):
                return 0
            return connection.scalar(select(func.count()).select_from(tables.entry)) or 0
    finally:
        engine.dispose()


def _run(program: str, url: str, *arguments: str) -> None:
    """Run one of the server's programs; the password goes through the environment, where other users cannot read it."""
    target = make_url(url)
    place = URL.create("postgresql", target.username, host=target.host, port=target.port, database=target.database, query=target.query)
    command = [
        os.fspath(binaries.installed() / program),
        f"--dbname={place.render_as_string()}",
        "--no-password",
        *arguments,
    ]
    environment = {**os.environ, **({"PGPASSWORD": str(target.password)} if target.password else {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  the server's own program, by its full path
    if done.returncode:
        raise DumpError(f"{program} could not do it: {done.stderr.strip()}")
