"""What `verify` finds when somebody without the key works on the tables."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import make_url

from stopgap.problems import UsageError
from stopgap.timeline import open as opening
from stopgap.timeline.entry import Draft, Timeline
from stopgap.timeline.keyfile import KeyMissingError
from stopgap.timeline.writing import TamperedError

if TYPE_CHECKING:
    from pathlib import Path

    from stopgap.testing import ManualClock, MemoryTimeline
    from stopgap.timeline.store import PostgresTimeline


def write(timeline: Timeline, count: int, *, chain: str = "INC-1", kind: str = "note") -> None:
    for number in range(count):
        timeline.append(Draft(chain=chain, kind=kind, text=f"note {number + 1}", actor="ann"))


def tamper(url: str, *statements: str) -> None:
    """Do what the owner of the tables can: take the triggers off, and work."""
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        for statement in ("ALTER TABLE entry DISABLE TRIGGER ALL", *statements):
            connection.execute(statement.encode())


def damages(timeline: PostgresTimeline | MemoryTimeline, **rest: Any) -> list[str]:
    return [damage.sentence for damage in timeline.verify(**rest).damages]


FORGED = (
    "INSERT INTO entry (chain, number, incident, run, step, at, kind, actor, text, data, key, previous, hash) "
    "SELECT chain, {number}, incident, run, step, at, kind, actor, 'forged', data, 'forged', '{previous}', repeat('a', 64) "
    "FROM entry WHERE chain = 'INC-1' AND number = 1"
)
LAST = "(SELECT hash FROM entry WHERE chain = 'INC-1' AND number = {number})"


def test_a_timeline_nobody_touched_is_unbroken(any_timeline: Any) -> None:
    write(any_timeline, 3)
    write(any_timeline, 2, chain="INC-2")
    verdict = any_timeline.verify()
    assert (verdict.entries, verdict.chains, verdict.damages) == (7, 2, ())  # and two in SEALS
    assert verdict.end == f"2:{any_timeline.of_chain('SEALS')[-1].hash}"


def test_an_empty_timeline_is_unbroken(any_timeline: Any) -> None:
    verdict = any_timeline.verify()
    assert (verdict.entries, verdict.chains, verdict.damages, verdict.end) == (0, 0, (), "")


@pytest.mark.parametrize("column", ["text", "actor", "kind", "incident", "run", "step", "key"])
def test_a_changed_word_is_found(timeline: PostgresTimeline, database_url: str, column: str) -> None:
    write(timeline, 5)
    tamper(database_url, f"UPDATE entry SET {column} = 'other' WHERE chain = 'INC-1' AND number = 3")
    assert damages(timeline) == ["INC-1 #3 was changed after it was written."]


@pytest.mark.parametrize(
    "change", ["data = '{\"a\": 1}'", "at = at + interval '1 microsecond'", "previous = repeat('b', 64)", "hash = repeat('b', 64)"]
)
def test_changed_data_times_and_hashes_are_found(timeline: PostgresTimeline, database_url: str, change: str) -> None:
    write(timeline, 5)
    tamper(database_url, f"UPDATE entry SET {change} WHERE chain = 'INC-1' AND number = 5")
    assert damages(timeline) == ["INC-1 #5 was changed after it was written."]


def test_a_removed_entry_is_found(timeline: PostgresTimeline, database_url: str) -> None:
    write(timeline, 5)
    tamper(database_url, "DELETE FROM entry WHERE chain = 'INC-1' AND number = 3")
    assert damages(timeline) == ["INC-1 #3 was removed."]
    tamper(database_url, "DELETE FROM entry WHERE chain = 'INC-1' AND number = 2")
    assert damages(timeline) == ["INC-1 #2 to #3 were removed."]


def test_a_removed_entry_is_found_although_the_gap_was_closed(timeline: PostgresTimeline, database_url: str) -> None:
    write(timeline, 5)
    close_gap = [f"UPDATE entry SET number = {number - 1} WHERE chain = 'INC-1' AND number = {number}" for number in (4, 5)]
    tamper(database_url, "DELETE FROM entry WHERE chain = 'INC-1' AND number = 3", *close_gap)
    assert damages(timeline) == ["INC-1 #3 was removed, and the later ones were given other numbers."]


def test_an_inserted_entry_is_found(timeline: PostgresTimeline, database_url: str) -> None:
    write(timeline, 3)
    third = timeline.of_chain("INC-1")[1]
    tamper(database_url, "UPDATE entry SET number = 4 WHERE chain = 'INC-1' AND number = 3", FORGED.format(number=3, previous=third.hash))
    assert damages(timeline) == ["INC-1 #3 was inserted by somebody without the key."]


def test_an_entry_put_at_the_end_is_found(timeline: PostgresTimeline, database_url: str) -> None:
    write(timeline, 3)
    tamper(database_url, FORGED.format(number=4, previous=timeline.of_chain("INC-1")[-1].hash))
    assert damages(timeline) == ["INC-1 #4 was inserted by somebody without the key."]


def test_a_cut_off_end_is_found(timeline: PostgresTimeline, database_url: str) -> None:
    write(timeline, 5)
    tamper(database_url, "DELETE FROM entry WHERE chain = 'INC-1' AND number > 3")
    assert damages(timeline) == ["INC-1 #4 to #5 were cut off."]


def test_a_cut_off_end_is_found_although_the_head_was_moved_back(timeline: PostgresTimeline, database_url: str) -> None:
    write(timeline, 5)
    tamper(
        database_url,
        "DELETE FROM entry WHERE chain = 'INC-1' AND number > 3",
        f"UPDATE head SET number = 3, hash = {LAST.format(number=3)} WHERE chain = 'INC-1'",
    )
    assert damages(timeline) == ["INC-1 #4 was cut off: the head was moved back without the key."]
    with pytest.raises(TamperedError) as caught:
        write(timeline, 1)
    assert str(caught.value) == (
        "The end of the chain INC-1 was changed by somebody without the timeline's key, so nothing is added to it.\n"
        "See what is wrong:  stopgap timeline verify"
    )


@pytest.mark.parametrize("kind", ["run.finished", "incident.resolved"])
def test_an_end_that_was_sealed_cannot_be_cut_off_even_with_an_old_head(timeline: PostgresTimeline, database_url: str, kind: str) -> None:
    write(timeline, 3)
    tamper(database_url, "CREATE TABLE old AS SELECT * FROM head WHERE chain = 'INC-1'")
    write(timeline, 1, kind=kind)
    tamper(
        database_url,
        "DELETE FROM entry WHERE chain = 'INC-1' AND number > 3",
        "DELETE FROM head WHERE chain = 'INC-1'",
        "INSERT INTO head SELECT * FROM old",
    )
    assert damages(timeline) == ["INC-1 #4 was cut off."]


def test_a_growing_chain_is_sealed_every_hour(timeline: PostgresTimeline, clock: ManualClock) -> None:
    for _minutes in range(0, 125, 25):
        write(timeline, 1)
        clock.advance(timedelta(minutes=25))
    assert [seal.data["number"] for seal in timeline.of_chain("SEALS")] == [1, 4]
    assert timeline.seal() == 1
    assert timeline.seal() == 0
    assert [seal.data["number"] for seal in timeline.of_chain("SEALS")] == [1, 4, 5]
    assert damages(timeline) == []


def test_a_removed_chain_is_found(timeline: PostgresTimeline, database_url: str) -> None:
    write(timeline, 3)
    write(timeline, 1, chain="INC-2")
    tamper(database_url, "DELETE FROM entry WHERE chain = 'INC-1'")
    assert damages(timeline) == ["INC-1 was removed as a whole; it had 3 entries."]
    tamper(database_url, "DELETE FROM head WHERE chain = 'INC-1'")
    assert damages(timeline) == ["INC-1 was removed as a whole; it had 1 entry."]  # SEALS saw it begin


def test_a_removed_head_is_found(timeline: PostgresTimeline, database_url: str) -> None:
    write(timeline, 3)
    tamper(database_url, "DELETE FROM head WHERE chain = 'INC-1'")
    assert damages(timeline) == ["INC-1 #3 is the last one, but the head that says so was removed."]


def test_a_removed_chain_of_seals_is_found(timeline: PostgresTimeline, database_url: str) -> None:
    write(timeline, 3)
    tamper(database_url, "DELETE FROM entry WHERE chain = 'SEALS'", "DELETE FROM head WHERE chain = 'SEALS'")
    assert damages(timeline) == ["SEALS was removed as a whole."]


def test_only_the_first_damage_of_each_chain_is_named(timeline: PostgresTimeline, database_url: str) -> None:
    write(timeline, 5)
    write(timeline, 5, chain="INC-2")
    tamper(database_url, "UPDATE entry SET text = 'other' WHERE number IN (2, 4) AND chain <> 'SEALS'")
    assert damages(timeline) == ["INC-1 #2 was changed after it was written.", "INC-2 #2 was changed after it was written."]


def test_a_database_put_back_to_an_older_state_is_found_by_the_end_of_an_earlier_verdict(any_timeline: Any) -> None:
    write(any_timeline, 3)
    end = any_timeline.verify().end
    assert damages(any_timeline, since=end) == []
    number, hashed = end.split(":")
    assert damages(any_timeline, since=f"{int(number) + 1}:{hashed}") == ["SEALS #2 was cut off."]
    assert damages(any_timeline, since=f"{number}:{'c' * 64}") == ["SEALS #1 was changed after it was sealed."]


@pytest.mark.parametrize("since", ["now", "14", "14:abc", ":"])
def test_an_end_that_verify_never_printed_is_refused(any_timeline: Any, since: str) -> None:
    with pytest.raises(UsageError) as caught:
        any_timeline.verify(since=since)
    assert str(caught.value) == (
        f'"{since}" is not where a timeline ended. Give the line that `stopgap timeline verify` printed, like 14:3fa9... (64 hexadecimal digits).'
    )


@pytest.mark.parametrize("statement", ["UPDATE entry SET text = 'x'", "DELETE FROM entry", "TRUNCATE entry"])
def test_the_database_refuses_changes_made_by_mistake(timeline: PostgresTimeline, database_url: str, statement: str) -> None:
    write(timeline, 1)
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with (
        psycopg.connect(url) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="timeline entries are never changed or removed"),
    ):
        connection.execute(statement.encode())


def test_a_timeline_is_not_opened_with_another_key(
    timeline: PostgresTimeline, stopgap_home: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(timeline, 1)
    monkeypatch.setenv("STOPGAP_TIMELINE_KEY", "quite another key of some length")
    with pytest.raises(KeyMissingError) as caught, opening.connected(database_url):
        pass
    assert str(caught.value) == (
        f"The key with which this timeline is written is another one: {stopgap_home}/timeline.key\n"
        "Copy it from the machine that wrote first, or name it:  STOPGAP_TIMELINE_KEY_FILE=path/to/timeline.key"
    )
    monkeypatch.delenv("STOPGAP_TIMELINE_KEY")
    with (
        pytest.raises(KeyMissingError, match=r"^The key with which this timeline is written is not here: "),
        opening.connected(database_url),
    ):
        pass
    assert not (stopgap_home / "timeline.key").exists()


def test_a_key_that_is_too_short_or_cannot_be_read_is_refused(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPGAP_TIMELINE_KEY", "short")
    with pytest.raises(UsageError) as caught, opening.connected(database_url):
        pass
    assert (
        str(caught.value) == "The timeline's key in STOPGAP_TIMELINE_KEY has 5 characters; at least 16 are needed, better 64 random ones."
    )
    monkeypatch.delenv("STOPGAP_TIMELINE_KEY")
    monkeypatch.setenv("STOPGAP_TIMELINE_KEY_FILE", str(tmp_path))
    with pytest.raises(UsageError) as caught, opening.connected(database_url):
        pass
    assert str(caught.value) == f"The timeline's key cannot be read from {tmp_path}: Is a directory."


def test_a_home_where_no_key_can_be_written_is_said(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STOPGAP_TIMELINE_KEY", "STOPGAP_TIMELINE_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").symlink_to(tmp_path / "gone" / "away")
    monkeypatch.setenv("STOPGAP_HOME", str(tmp_path / "home"))
    with pytest.raises(UsageError) as caught, opening.connected(database_url):
        pass
    assert str(caught.value) == (
        f"The timeline's key cannot be written to {tmp_path}/home/timeline.key: File exists.\n"
        "Choose another home:  STOPGAP_HOME=..., or bring a key of your own:  STOPGAP_TIMELINE_KEY_FILE=path/to/timeline.key"
    )
