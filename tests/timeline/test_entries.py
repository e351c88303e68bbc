"""What every timeline does with entries: the one in PostgreSQL and its twin in memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from stopgap.testing import START, ManualClock
from stopgap.timeline.entry import Draft, Timeline
from stopgap.timeline.kinds import EntryError


def note(text: str = "said", *, chain: str = "INC-1", **rest: Any) -> Draft:
    return Draft(**{"chain": chain, "kind": "note", "text": text, "actor": "ann", "incident": chain, **rest})


def test_an_entry_is_read_back_as_it_was_written(any_timeline: Timeline) -> None:
    data = {"b": [1, 2.5, 1e22, None, True], "a": {"ü": "💥"}}
    written = any_timeline.append(note("scaled", run="INC-1.1", step="scale", key="step.started/INC-1.1/scale/1", data=data))
    assert written.won
    assert written.entry.number == 1
    assert written.entry.at == START
    assert written.entry.data == data
    assert any_timeline.of_chain("INC-1") == (written.entry,)
    assert any_timeline.of_run("INC-1.1") == (written.entry,)
    assert any_timeline.find("step.started/INC-1.1/scale/1") == written.entry


def test_the_first_of_a_key_wins_and_everybody_reads_it(any_timeline: Timeline) -> None:
    first = any_timeline.append(note("approve", key="gate.decided/INC-1.1/shift/1"))
    second = any_timeline.append(note("reject", key="gate.decided/INC-1.1/shift/1"))
    elsewhere = any_timeline.append(note("reject", chain="INC-2", key="gate.decided/INC-1.1/shift/1"))
    assert (first.won, second.won, elsewhere.won) == (True, False, False)
    assert first.entry == second.entry == elsewhere.entry
    assert any_timeline.of_chain("INC-2") == ()


def test_one_of_many_threads_wins_a_key_even_in_different_chains(any_timeline: Timeline) -> None:
    ready = threading.Barrier(8)

    def decide(number: int) -> tuple[bool, str]:
        ready.wait()
        done = any_timeline.append(note(f"thread {number}", chain=f"INC-{number}", key="alert/episode"))
        return done.won, done.entry.text

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(decide, range(8)))
    assert sum(won for won, _text in answers) == 1
    assert len({text for _won, text in answers}) == 1


def test_entries_link_to_the_one_before(any_timeline: Timeline) -> None:
    entries = [any_timeline.append(note(str(number))).entry for number in range(3)]
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert [entry.previous for entry in entries] == ["0" * 64, entries[0].hash, entries[1].hash]
    assert any_timeline.of_chain("INC-1", after=2) == (entries[2],)


def test_several_are_appended_in_order_and_a_key_twice_among_them_wins_once(any_timeline: Timeline) -> None:
    done = any_timeline.append_all([note("a", key="one"), note("b", chain="INC-2"), note("c", key="one"), note("d")])
    assert [(item.won, item.entry.chain, item.entry.number, item.entry.text) for item in done] == [
        (True, "INC-1", 1, "a"),
        (True, "INC-2", 1, "b"),
        (False, "INC-1", 1, "a"),
        (True, "INC-1", 2, "d"),
    ]


def test_nothing_of_a_batch_is_written_when_one_entry_is_wrong(any_timeline: Timeline) -> None:
    with pytest.raises(EntryError):
        any_timeline.append_all([note("a"), note("b", kind="party")])
    assert any_timeline.of_chain("INC-1") == ()


def test_time_never_runs_backwards_within_a_chain(any_timeline: Timeline, clock: ManualClock) -> None:
    first = any_timeline.append(note()).entry
    clock.set_back(timedelta(minutes=5))
    assert any_timeline.append(note()).entry.at == first.at
    clock.advance(timedelta(minutes=6))
    assert any_timeline.append(note()).entry.at == first.at + timedelta(minutes=1)


def test_kinds_are_a_closed_set(any_timeline: Timeline) -> None:
    with pytest.raises(EntryError) as caught:
        any_timeline.append(note(kind="party"))
    assert str(caught.value).startswith('"party" is not a kind of timeline entry. The kinds are incident.opened, incident.severity, ')
    assert str(caught.value).endswith(", chain.sealed (schemas/entry.schema.json).")


@pytest.mark.parametrize("data", [{"a": object()}, {"a": float("nan")}, {1: 2, "a": 3}])
def test_data_that_is_not_json_is_refused(any_timeline: Timeline, data: dict[Any, Any]) -> None:
    with pytest.raises(EntryError, match=r"^The data of an entry of kind note in INC-1 is not JSON: "):
        any_timeline.append(note(data=data))


def test_an_entry_without_a_chain_is_refused(any_timeline: Timeline) -> None:
    with pytest.raises(EntryError) as caught:
        any_timeline.append(note(chain=""))
    assert str(caught.value) == "An entry of kind note names no chain. Name the incident it belongs to, like INC-12."


def test_foreign_text_that_no_database_holds_is_kept_as_well_as_can_be(any_timeline: Timeline) -> None:
    entry = any_timeline.append(note("a\x00b\ud800c", data={"a": "x\x00y\udfffz"})).entry
    assert entry.text == "a\ufffdb?c"
    assert any_timeline.of_chain("INC-1") == (entry,)


def test_kinds_are_found_over_all_chains_oldest_first(any_timeline: Timeline, clock: ManualClock) -> None:
    for number in (2, 1, 3):
        any_timeline.append(note(chain=f"INC-{number}", kind="incident.opened"))
        clock.advance(timedelta(minutes=1))
    found = any_timeline.of_kind("incident.opened", "incident.resolved")
    assert [entry.chain for entry in found] == ["INC-2", "INC-1", "INC-3"]
    assert any_timeline.of_kind("incident.opened", since=START + timedelta(minutes=1)) == found[1:]
    assert any_timeline.chains() == ("INC-3", "INC-1", "INC-2")
    assert any_timeline.chains(limit=1) == ("INC-3",)


def test_counters_count_each_for_itself(any_timeline: Timeline) -> None:
    assert [any_timeline.next_number("INC"), any_timeline.next_number("DRILL"), any_timeline.next_number("INC")] == [1, 1, 2]


def test_who_follows_gets_what_was_and_what_comes(any_timeline: Timeline) -> None:
    any_timeline.append(note("before"))
    following = any_timeline.follow("INC-1", timeout=timedelta(seconds=30))
    assert next(following).text == "before"
    later = threading.Timer(0.05, lambda: any_timeline.append(note("after")))
    later.start()
    assert next(following).text == "after"
    later.join()


def test_following_ends_when_nothing_comes(any_timeline: Timeline) -> None:
    any_timeline.append(note("only"))
    assert [entry.text for entry in any_timeline.follow("INC-1", timeout=timedelta(seconds=0.05))] == ["only"]
    assert list(any_timeline.follow("INC-1", after=1, timeout=timedelta(0))) == []
