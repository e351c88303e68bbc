"""The tables that the migrations make are the tables that the code works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from stopgap.timeline import migrate, tables
from stopgap.timeline.migrate import DatabaseTooNewError

if TYPE_CHECKING:
    from stopgap.timeline.store import PostgresTimeline


def test_migrations_make_the_tables_that_the_code_describes(timeline: PostgresTimeline) -> None:
    ours = {table.name for table in tables.metadata.sorted_tables}
    with timeline.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, _parents: kind != "table" or name in ours}
        )
        assert compare_metadata(context, tables.metadata) == []


def test_a_database_of_a_newer_stopgap_is_left_alone(timeline: PostgresTimeline) -> None:
    with timeline.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseTooNewError) as caught:
        migrate.to_newest(timeline.engine)
    assert str(caught.value) == (
        f"The timeline's database is at version 9999, and this stopgap knows versions up to {migrate.newest()}.\nInstall the newer stopgap again."
    )
