"""The database goes away in the worst moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import event, exc

from stopgap.timeline.entry import Draft
from stopgap.timeline.store import TimelineUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from stopgap.timeline.postgres import Server
    from stopgap.timeline.store import PostgresTimeline

NOTE = Draft(chain="INC-1", kind="note", text="said", actor="ann", key="note/1")


def cut_all(server: Server, timeline: PostgresTimeline) -> None:
    with server.administrator() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [timeline.engine.url.database]
        )


def test_an_append_connects_again_when_its_connection_was_cut_before(timeline: PostgresTimeline, database_server: Server) -> None:
    timeline.append(NOTE)
    cut_all(database_server, timeline)
    assert timeline.append(Draft(chain="INC-1", kind="note", text="again", actor="ann")).won
    assert [entry.text for entry in timeline.of_chain("INC-1")] == ["said", "again"]


def test_whatever_is_asked_connects_again_when_its_connection_was_cut_before(timeline: PostgresTimeline, database_server: Server) -> None:
    timeline.append(NOTE)
    asked: list[Callable[[], object]] = [
        lambda: timeline.of_chain("INC-1"),
        timeline.chains,
        timeline.recent,
        timeline.leases.of_all,
        timeline.locks.of_all,
        lambda: timeline.next_number("INC"),
        lambda: timeline.proofs.sealed("nobody"),
        lambda: timeline.damage("INC-1"),
        timeline.seal,
    ]
    for ask in asked:
        cut_all(database_server, timeline)
        ask()


def test_a_read_is_asked_again_when_its_connection_is_cut_in_the_middle(timeline: PostgresTimeline, database_server: Server) -> None:
    timeline.append(NOTE)
    event.listen(timeline.engine, "before_cursor_execute", lambda *_all: cut_all(database_server, timeline), once=True)
    assert [entry.text for entry in timeline.of_chain("INC-1")] == ["said"]


def test_a_read_that_is_cut_again_says_so(timeline: PostgresTimeline, database_server: Server) -> None:
    timeline.append(NOTE)
    event.listen(timeline.engine, "before_cursor_execute", lambda *_all: cut_all(database_server, timeline))
    with pytest.raises(TimelineUnreachableError, match="cannot be reached or refused"):
        timeline.of_chain("INC-1")


def test_an_append_whose_commit_went_through_is_not_reported_as_lost(timeline: PostgresTimeline) -> None:
    def commit_and_lose(connection: Connection) -> None:
        event.remove(timeline.engine, "commit", commit_and_lose)
        assert connection.connection.driver_connection
        connection.connection.driver_connection.commit()
        raise exc.OperationalError("COMMIT", {}, psycopg.OperationalError("server closed the connection unexpectedly"))

    event.listen(timeline.engine, "commit", commit_and_lose)
    assert timeline.append(NOTE).won
    assert [entry.text for entry in timeline.of_chain("INC-1")] == ["said"]


def test_an_append_whose_commit_was_lost_says_so_and_wrote_nothing(timeline: PostgresTimeline) -> None:
    def lose(_connection: Connection) -> None:
        event.remove(timeline.engine, "commit", lose)
        raise exc.OperationalError("COMMIT", {}, psycopg.OperationalError("server closed the connection unexpectedly"))

    event.listen(timeline.engine, "commit", lose)
    with pytest.raises(
        TimelineUnreachableError, match=r"cannot be reached or refused: server closed the connection unexpectedly\nNothing was written\."
    ):
        timeline.append(NOTE)
    assert timeline.of_chain("INC-1") == ()
    assert timeline.append(NOTE).won


def test_who_follows_hears_again_after_its_connection_was_cut(timeline: PostgresTimeline, database_server: Server) -> None:
    following = timeline.follow("INC-1")
    timeline.append(NOTE)
    assert next(following).text == "said"
    cut_all(database_server, timeline)
    timeline.append(Draft(chain="INC-1", kind="note", text="later", actor="ann"))
    assert next(following).text == "later"
