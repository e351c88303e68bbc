"""One embedded PostgreSQL a session, a fresh migrated database a test, and the timeline in it."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from stopgap import home
from stopgap.testing import ManualClock, MemoryTimeline
from stopgap.timeline import migrate, postgres
from stopgap.timeline import open as opening
from stopgap.timeline.store import create_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stopgap.timeline.entry import Timeline
    from stopgap.timeline.postgres import Server
    from stopgap.timeline.store import PostgresTimeline

KEY = "the key of every timeline in the tests"
# Tests do not outlive a power cut.
_HASTY = {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0"}
_TEMPLATE = "template_of_tests"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def database_server() -> Iterator[Server]:
    """The session's server. In a home that other accounts may pass through, because as root it runs as one of them."""
    with home.temporary() as folder, postgres.start(folder, settings=_HASTY) as server:
        server.create_database(_TEMPLATE)
        engine = create_engine(server.url(_TEMPLATE))
        migrate.to_newest(engine)
        engine.dispose()
        yield server


@pytest.fixture
def database_url(database_server: Server) -> Iterator[str]:
    """SQLAlchemy URL of a fresh database with the timeline's tables; also good as STOPGAP_DATABASE_URL."""
    with fresh_database(database_server) as url:
        yield url


@contextlib.contextmanager
def fresh_database(database_server: Server) -> Iterator[str]:
    """Give a database with the timeline's tables, for as long as it is needed."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with database_server.administrator() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} OWNER {_TEMPLATE}")
    yield make_url(database_server.url(_TEMPLATE)).set(database=name).render_as_string(hide_password=False)
    with database_server.administrator() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def stopgap_home(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own with a fresh database; set in this process's environment, so that child processes find it too."""
    monkeypatch.setenv("STOPGAP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STOPGAP_DATABASE_URL", database_url)
    monkeypatch.setenv("STOPGAP_TIMELINE_KEY", KEY)
    return tmp_path / "home"


@pytest.fixture
def timeline(stopgap_home: Path, clock: ManualClock) -> Iterator[PostgresTimeline]:
    """The timeline of `stopgap_home`, by the test's clock."""
    assert stopgap_home
    with opening.timeline(clock=clock) as opened:
        yield opened


@pytest.fixture(params=["postgres", "memory"])
def any_timeline(request: pytest.FixtureRequest, clock: ManualClock) -> Timeline:
    """The timeline in PostgreSQL and its twin in memory, which must behave as one."""
    if request.param == "memory":
        return MemoryTimeline(clock=clock)
    found: Timeline = request.getfixturevalue("timeline")
    return found
