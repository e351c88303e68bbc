"""A process that carries a run out asks the database only for entries that are new, and misses none."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from stopgap.timeline import memory
from stopgap.timeline.entry import Draft
from stopgap.timeline.leases import Terms

if TYPE_CHECKING:
    from stopgap.timeline.store import PostgresTimeline

TERMS = Terms(length=timedelta(minutes=1), longest_call=timedelta(seconds=30))


@pytest.fixture
def ours(timeline: PostgresTimeline) -> PostgresTimeline:
    timeline.leases.take("INC-1.1", "me", place="here", terms=TERMS)
    return timeline.under("INC-1.1", "me")


def draft(text: str, *, key: str = "", run: str = "INC-1.1") -> Draft:
    return Draft(chain="INC-1", incident="INC-1", run=run, kind="note", actor="test", text=text, key=key)


def said(timeline: PostgresTimeline) -> list[str]:
    return [entry.text for entry in timeline.of_run("INC-1.1")]


def test_what_it_wrote_itself_it_sees_at_once(ours: PostgresTimeline) -> None:
    assert said(ours) == []
    for number in range(5):
        ours.append(draft(f"note {number}"))
        assert said(ours) == [f"note {count}" for count in range(number + 1)]


def test_what_others_wrote_meanwhile_it_sees_with_its_own_next_entry(timeline: PostgresTimeline, ours: PostgresTimeline) -> None:
    ours.append(draft("first"))
    assert said(ours) == ["first"]
    timeline.append(draft("of somebody else"))
    ours.append(draft("third"))
    assert said(ours) == ["first", "of somebody else", "third"]


def test_what_others_wrote_it_sees_a_moment_later(timeline: PostgresTimeline, ours: PostgresTimeline) -> None:
    ours.append(draft("first"))
    assert said(ours) == ["first"]
    timeline.append(draft("second"))
    time.sleep(memory.FRESH)
    assert said(ours) == ["first", "second"]


def test_a_key_that_somebody_else_had_first_shows_the_winner_at_once(timeline: PostgresTimeline, ours: PostgresTimeline) -> None:
    ours.append(draft("first"))
    assert said(ours) == ["first"]
    timeline.append(draft("theirs", key="once"))
    lost = ours.append(draft("ours", key="once"))
    assert (lost.won, lost.entry.text) == (False, "theirs")
    assert said(ours) == ["first", "theirs"]


def test_entries_of_other_runs_are_not_this_runs(timeline: PostgresTimeline, ours: PostgresTimeline) -> None:
    ours.append(draft("ours"))
    assert said(ours) == ["ours"]
    timeline.append(draft("of another run", run="INC-1.2"))
    ours.append(draft("ours again"))
    assert said(ours) == ["ours", "ours again"]
    assert [entry.text for entry in ours.of_chain("INC-1", after=1)] == ["of another run", "ours again"]


def test_both_ways_of_reading_agree(timeline: PostgresTimeline, ours: PostgresTimeline) -> None:
    for number in range(20):
        (timeline if number % 3 else ours).append(draft(f"note {number}"))
    time.sleep(memory.FRESH)
    assert ours.of_run("INC-1.1") == timeline.of_run("INC-1.1")
    assert ours.of_chain("INC-1") == timeline.of_chain("INC-1")
