"""A real Prefect server on a real PostgreSQL, started once for the whole session."""

from __future__ import annotations

import atexit
import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from stopgap import home
from stopgap.engine import server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stopgap.timeline.postgres import Server


def pytest_configure() -> None:
    """Nothing of the user's Prefect is read or written: its settings are read when it is first imported."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    folder = tempfile.TemporaryDirectory(prefix="stopgap-")
    atexit.register(folder.cleanup)
    os.environ.update(PREFECT_HOME=folder.name, DO_NOT_TRACK="1", PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="false")


@pytest.fixture(scope="session")
def prefect_home() -> Iterator[Path]:
    """Where the session's server keeps its things."""
    with home.temporary() as folder:
        yield folder


@pytest.fixture(scope="session")
def prefect_database(database_server: Server) -> str:
    """The URL of an empty database that is Prefect's alone."""
    database_server.create_database("prefect")
    return database_server.url("prefect", driver="asyncpg")


@pytest.fixture(scope="session")
def prefect_server(prefect_home: Path, prefect_database: str) -> Iterator[server.PrefectServer]:
    started = server.start(prefect_home, prefect_database)
    yield started
    started.end()


@pytest.fixture(scope="session")
def prefect_env(prefect_server: server.PrefectServer) -> dict[str, str]:
    """The environment of a process that talks to the session's server."""
    return {**server.scrubbed(os.environ), **server.environment(prefect_server)}


@contextlib.contextmanager
def client_of(prefect_server: server.PrefectServer) -> Iterator[None]:
    """Prefect's client talks to this server."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server.api_url, PREFECT_API_AUTH_STRING: prefect_server.auth}):
        yield


@pytest.fixture
def prefect_settings(prefect_server: server.PrefectServer) -> Iterator[None]:
    """Inside this test, Prefect's client talks to the session's server."""
    with client_of(prefect_server):
        yield
