from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.timeline import locks
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from stopgap.testing import ManualClock
    from stopgap.timeline.entry import Timeline
    from stopgap.timeline.store import PostgresTimeline

ENDED = Draft(
    chain="INC-1", incident="INC-1", run="INC-1.1", kind="run.finished", actor="stopgap", text="ended", key="run.finished/INC-1.1"
)


def shown(timeline: Timeline) -> list[tuple[str, str, bool]]:
    return [(lock.target, lock.run, lock.is_held) for lock in timeline.locks.of_all()]


def test_all_targets_are_taken_or_none(any_timeline: Timeline) -> None:
    assert any_timeline.locks.take("INC-1.1", {"b"}) == ()
    found = any_timeline.locks.take("INC-2.1", {"a", "b"})
    assert [(lock.target, lock.run) for lock in found] == [("b", "INC-1.1")]
    assert shown(any_timeline) == [("a", "INC-2.1", False), ("b", "INC-1.1", True), ("b", "INC-2.1", False)]


def test_taking_again_changes_nothing(any_timeline: Timeline, clock: ManualClock) -> None:
    any_timeline.locks.take("INC-1.1", {"a"})
    before = any_timeline.locks.of_all()
    clock.advance(timedelta(minutes=1))
    assert any_timeline.locks.take("INC-1.1", {"a"}) == ()
    assert any_timeline.locks.of_all() == before


def test_a_lock_of_a_run_that_has_ended_is_free_whatever_died_in_between(any_timeline: Timeline) -> None:
    any_timeline.locks.take("INC-1.1", {"a", "b"})
    any_timeline.append(ENDED)
    assert shown(any_timeline) == []
    assert any_timeline.locks.take("INC-2.1", {"a"}) == ()
    assert shown(any_timeline) == [("a", "INC-2.1", True)]


def test_what_is_given_back_is_free_and_what_others_hold_is_not(any_timeline: Timeline) -> None:
    any_timeline.locks.take("INC-1.1", {"a", "b"})
    any_timeline.locks.release("INC-2.1", {"a"})
    any_timeline.locks.release("INC-1.1", {"b"})
    assert shown(any_timeline) == [("a", "INC-1.1", True)]


def test_a_run_that_gives_up_waits_no_more_and_keeps_what_it_holds(any_timeline: Timeline) -> None:
    any_timeline.locks.take("INC-1.1", {"a"})
    any_timeline.locks.take("INC-2.1", {"b"})
    any_timeline.locks.take("INC-2.1", {"a"})
    any_timeline.locks.forget("INC-2.1")
    assert shown(any_timeline) == [("a", "INC-1.1", True), ("b", "INC-2.1", True)]


def test_of_runs_that_wait_for_each_other_the_last_one_gives_way(any_timeline: Timeline, clock: ManualClock) -> None:
    runs = {"INC-1.1": "ab", "INC-2.1": "bc", "INC-3.1": "ca"}
    for run, targets in runs.items():
        any_timeline.locks.take(run, {targets[0]})
        assert locks.circle(any_timeline.locks.of_all(), run) == ()
    for run, targets in runs.items():
        clock.advance(timedelta(seconds=1))
        any_timeline.locks.take(run, {targets[1]})
    found = any_timeline.locks.of_all()
    waits = {run: locks.circle(found, run) for run in runs}
    assert [lock.target for lock in waits["INC-1.1"]] == ["b", "c", "a"]
    assert [run for run, circle in waits.items() if locks.gives_way(circle, run)] == ["INC-3.1"]
    assert not locks.is_free(found, "INC-1.1")
    any_timeline.locks.release("INC-2.1", {"b"})
    assert locks.circle(any_timeline.locks.of_all(), "INC-1.1") == ()
    assert locks.is_free(any_timeline.locks.of_all(), "INC-1.1")


def test_of_many_that_want_the_same_targets_at_once_one_gets_them(timeline: PostgresTimeline) -> None:
    barrier = threading.Barrier(12)
    won: list[str] = []

    def race(number: int) -> None:
        targets = ["a", "b", "c"] if number % 2 else ["c", "b", "a"]
        barrier.wait()
        if not timeline.locks.take(f"INC-{number}.1", targets):
            won.append(f"INC-{number}.1")

    threads = [threading.Thread(target=race, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    held = [lock for lock in timeline.locks.of_all() if lock.is_held]
    assert [(lock.target, lock.run) for lock in held] == [("a", won[0]), ("b", won[0]), ("c", won[0])]
