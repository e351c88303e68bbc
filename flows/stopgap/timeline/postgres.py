"""The embedded PostgreSQL: one server for everybody who works in one home, started by the first and stopped by the last.

    with postgres.start(home.data_folder()) as server:
        server.create_database("prefect")
        server.url("prefect", driver="asyncpg")

What lies below `<home>/postgres`, none of it readable by other users:

    18/                 the data, named by the major version
    socket/             the only way in (a path too long for a socket moves to the runtime or temporary folder)
    password            generated, 0600; every role's password is derived from it
    programs-18.x/      a copy of the server's programs, only where its account cannot reach the installed ones

Everybody who uses the server holds a shared lock on `<home>/postgres.users`. Who leaves tries for the exclusive one and, when nobody else
is there, stops the server. A process that is killed drops its lock with its life: the next one to come takes the server over as it finds it.

Each database has a role of its own, which owns it and can connect to no other: Prefect's server cannot touch the timeline.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING, Any, Literal, LiteralString, Self

import psycopg
from psycopg import sql

from stopgap.home import make
from stopgap.timeline import binaries
from stopgap.timeline.account import for_server, require_reachable
from stopgap.timeline.cluster import MAJOR, PORT, SUPERUSER, Cluster, ServerError, require_major

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Driver = Literal["psycopg", "asyncpg"]
_CREATING = 7_021_815  # an advisory lock of ours: two processes may want the same new database at once


class Server:
    """A running server, and this process's share in it. `close` gives the share back."""

    def __init__(self, *, cluster: Cluster, socket: Path, password: str, home: Path, users: int) -> None:
        self.socket = socket
        self._cluster = cluster
        self._password = password
        self._home = home
        self._users: int | None = users

    def url(self, database: str, *, driver: Driver = "psycopg") -> str:
        """SQLAlchemy URL of a database, with its role and password, over the Unix socket."""
        from sqlalchemy import URL

        role, password = self._login(database)
        return URL.create(
            f"postgresql+{driver}", role, password, database=database, query={"host": os.fspath(self.socket), "port": str(PORT)}
        ).render_as_string(hide_password=False)

    def environment(self, database: str) -> dict[str, str]:
        """PG* variables with which `psql` and `pg_dump` reach a database."""
        role, password = self._login(database)
        return {"PGHOST": os.fspath(self.socket), "PGPORT": str(PORT), "PGUSER": role, "PGPASSWORD": password, "PGDATABASE": database}

    @property
    def programs(self) -> Path:
        """Where `psql`, `pg_dump` and `pg_restore` of the server's own version lie."""
        return self._cluster.programs

    def create_database(self, name: str) -> None:
        """Make a database and the role that owns it, unless they are there. Safe in several processes at once."""
        role, password = self._login(name)
        with self.administrator() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [_CREATING])
            if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))
            if not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", name):
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(role)))
            connection.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))

    @contextlib.contextmanager
    def administrator(self) -> Iterator[psycopg.Connection[Any]]:
        """Connect as the server's superuser, outside any transaction; for making databases, not for working in them."""
        try:
            connection = psycopg.connect(
                host=os.fspath(self.socket),
                port=PORT,
                dbname=SUPERUSER,
                user=SUPERUSER,
                password=self._password,
                autocommit=True,
                connect_timeout=10,
            )
        except psycopg.OperationalError as error:
            raise ServerError(f"The embedded PostgreSQL on {self._cluster.data} runs but lets nobody in: {error}") from error
        with connection:
            yield connection

    def close(self) -> None:
        """Leave; the last one to leave stops the server. Closing again does nothing."""
        users, self._users = self._users, None
        if users is None:
            return
        with _lock(self._home / "postgres.lock", fcntl.LOCK_EX):
            os.close(users)
            with contextlib.suppress(BlockingIOError), _lock(self._home / "postgres.users", fcntl.LOCK_EX | fcntl.LOCK_NB):
                self._cluster.stop()

    def _login(self, database: str) -> tuple[str, str]:
        if database == SUPERUSER:
            return SUPERUSER, self._password
        return database, hmac.new(self._password.encode(), f"role/{database}".encode(), hashlib.sha256).hexdigest()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Leave the server."""
        self.close()


def start(home: Path, *, settings: Mapping[str, str] | None = None) -> Server:
    """Start the home's server, or join the one that runs. Several processes may do so at once.

    `settings` are PostgreSQL's, for a server started now. Raises AccountError, NoServerError or ServerError with what to do.
    """
    try:
        return _start(home, settings or {})
    except PermissionError as error:
        raise ServerError(
            f"{error.filename or home} belongs to another user or cannot be written ({error.strerror}).\n"
            f"Run stopgap as the user to whom {home} belongs, or choose another folder:  STOPGAP_HOME=..."
        ) from error
    except OSError as error:
        raise ServerError(f"The folder {home} for the database cannot be used: {error}.\nChoose another one:  STOPGAP_HOME=...") from error


def _start(home: Path, settings: Mapping[str, str]) -> Server:
    folder = home / "postgres"
    make(home)
    make(folder)
    with _lock(home / "postgres.lock", fcntl.LOCK_EX):
        users = _open(home / "postgres.users")
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
            cluster, password = _prepare(folder)
            socket = cluster.start(settings).socket
        except BaseException:
            os.close(users)
            raise
    return Server(cluster=cluster, socket=socket, password=password, home=home, users=users)


def _prepare(folder: Path) -> tuple[Cluster, str]:
    """Make what is missing: the programs, the password, the data folder."""
    data = require_major(folder)
    account = for_server(data)
    require_reachable(account, folder)
    cluster = Cluster(data=data, programs=binaries.folder_for(account, folder), account=account)
    password = _password(folder / "password", is_new=not data.exists())
    if not data.exists():
        cluster.make(password)
    return cluster, password


def _password(file: Path, *, is_new: bool) -> str:
    if is_new and not file.exists():
        with contextlib.suppress(FileExistsError), os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_urlsafe(32))
    try:
        return file.read_text()
    except FileNotFoundError:
        raise ServerError(
            f"{file} is missing: the password of the database in {file.parent / str(MAJOR)}.\nPut it back from a backup of the home folder."
        ) from None


def _exists(connection: psycopg.Connection[Any], query: LiteralString, name: str) -> bool:
    return connection.execute(query, [name]).fetchone() is not None


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


@contextlib.contextmanager
def _lock(path: Path, how: int) -> Iterator[None]:
    handle = _open(path)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)
