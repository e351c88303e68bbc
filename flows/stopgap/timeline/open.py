"""Open the timeline: STOPGAP_DATABASE_URL, or the embedded PostgreSQL of the home folder; migrated, and with its key."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from sqlalchemy import Engine, exc, insert, make_url, select

from stopgap import home
from stopgap.problems import UsageError
from stopgap.timeline import chain, keyfile, migrate, postgres, tables
from stopgap.timeline.store import PostgresTimeline, TimelineUnreachableError, create_engine, unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.clock import Clock

DATABASE = "stopgap"  # its name in the embedded server
_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+psycopg"})


@contextlib.contextmanager
def timeline(*, clock: Clock | None = None) -> Iterator[PostgresTimeline]:
    """Open the timeline; the embedded server is started if need be, and stopped if nobody else uses it.

    Open one per process, after a fork; it may be used by any number of threads. Others keep their own tables in the same database by its `engine`.
    """
    with database() as url, connected(url, clock=clock) as opened:
        yield opened


@contextlib.contextmanager
def database() -> Iterator[str]:
    """Give the SQLAlchemy URL of the timeline's database, which exists as long as this lasts."""
    named = os.environ.get("STOPGAP_DATABASE_URL")
    if named:
        yield _checked(named)
        return
    with postgres.start(home.data_folder()) as server:
        server.create_database(DATABASE)
        yield server.url(DATABASE)


@contextlib.contextmanager
def connected(url: str, *, clock: Clock | None = None) -> Iterator[PostgresTimeline]:
    """Open the timeline in this database, migrating it first."""
    engine = create_engine(url)
    try:
        try:
            migrate.to_newest(engine)
            key = _key(engine)
        except (exc.OperationalError, exc.InterfaceError) as error:
            raise TimelineUnreachableError(unreachable(engine, error)) from error
        yield PostgresTimeline(engine, key=key, clock=clock)
    finally:
        engine.dispose()


def _checked(url: str) -> str:
    try:
        found = make_url(url)
    except (exc.ArgumentError, ValueError):
        found = None
    if found is None or found.drivername not in _SCHEMES:
        scheme = url.partition(":")[0]
        raise UsageError(
            f'STOPGAP_DATABASE_URL starts with "{scheme}:", which is not PostgreSQL.\n'
            "Write it as  STOPGAP_DATABASE_URL=postgresql://user:password@host:5432/stopgap"
        )
    return found.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _key(engine: Engine) -> bytes:
    """Return the key this timeline is written with; the very first process makes it."""
    folder = home.data_folder()
    with engine.begin() as connection:
        known = connection.scalar(select(tables.signature.c.fingerprint))
        key = keyfile.load(folder)
        if known is None:
            # One row can be the first: others wait for this lock, then read it.
            connection.exec_driver_sql("LOCK TABLE signature IN EXCLUSIVE MODE")
            known = connection.scalar(select(tables.signature.c.fingerprint))
        if known is None:
            key = key or keyfile.make(folder)
            connection.execute(insert(tables.signature).values(fingerprint=chain.fingerprint(key)))
            return key
    if key is None or chain.fingerprint(key) != known:
        found = "is not here" if key is None else "is another one"
        raise keyfile.KeyMissingError(
            f"The key with which this timeline is written {found}: {folder / 'timeline.key'}\n"
            "Copy it from the machine that wrote first, or name it:  STOPGAP_TIMELINE_KEY_FILE=path/to/timeline.key"
        )
    return key
