"""`stopgap timeline show | follow | export | verify`, as typed."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import jsonschema
import pytest

from stopgap import schema
from stopgap.cli.main import run
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from pathlib import Path

    from stopgap.testing import ManualClock
    from stopgap.timeline.store import PostgresTimeline


@pytest.fixture
def incidents(timeline: PostgresTimeline, clock: ManualClock) -> PostgresTimeline:
    """Two incidents, the second with a run and with text that came from outside."""
    timeline.append(Draft(chain="INC-1", kind="incident.opened", text="Disk is full", actor="ann", incident="INC-1"))
    clock.advance(timedelta(minutes=1))
    timeline.append(Draft(chain="INC-2", kind="incident.opened", text="Checkout is slow", actor="ben", incident="INC-2"))
    clock.advance(timedelta(seconds=2))
    timeline.append(
        Draft(
            chain="INC-2",
            kind="step.finished",
            text="checkout: 3 -> 9 replicas",
            actor="stopgap",
            incident="INC-2",
            run="INC-2.1",
            step="scale",
        )
    )
    timeline.append(Draft(chain="INC-2", kind="note", text="=1+1 | <b>\x1b[31m`x`\nsecond line", actor="ben", incident="INC-2"))
    return timeline


def said(capsys: pytest.CaptureFixture[str], *arguments: str, exit_code: int = 0) -> str:
    assert run(["timeline", *arguments]) == exit_code
    captured = capsys.readouterr()
    assert (captured.err == "") == (exit_code == 0 or captured.out != "")
    return captured.out + captured.err


@pytest.mark.usefixtures("incidents")
def test_show_lists_the_newest_incidents(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "show") == (
        "INC-2\t2026-11-21 03:01:00\t3\tCheckout is slow\t=1+1 | <b> [31m`x` second line\nINC-1\t2026-11-21 03:00:00\t1\tDisk is full\tDisk is full\n"
    )
    found = json.loads(said(capsys, "show", "--json"))
    assert [(item["chain"], item["entries"], item["last"]["number"]) for item in found] == [("INC-2", 3, 3), ("INC-1", 1, 1)]


@pytest.mark.usefixtures("incidents")
def test_show_prints_plain_lines_into_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "show", "INC-2") == (
        "2026-11-21T03:01:00.000000Z\tINC-2#1\tincident.opened\t-\tben\tCheckout is slow\n"
        "2026-11-21T03:01:02.000000Z\tINC-2#2\tstep.finished\tscale\tstopgap\tcheckout: 3 -> 9 replicas\n"
        "2026-11-21T03:01:02.000000Z\tINC-2#3\tnote\t-\tben\t=1+1 | <b> [31m`x` second line\n"
    )
    assert (
        said(capsys, "show", "INC-2.1")
        == "2026-11-21T03:01:02.000000Z\tINC-2#2\tstep.finished\tscale\tstopgap\tcheckout: 3 -> 9 replicas\n"
    )


@pytest.mark.usefixtures("incidents")
@pytest.mark.parametrize("arguments", [("show", "INC-2"), ("show",), ("follow", "INC-2", "--until-quiet", "0s")])
def test_a_person_gets_a_table_without_foreign_control_characters(arguments: tuple[str, ...]) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    done = subprocess.Popen([sys.executable, "-m", "stopgap", "timeline", *arguments], stdout=follower, env=environment)
    os.close(follower)
    seen = b""
    while chunk := _read(leader):
        seen += chunk
    os.close(leader)
    assert done.wait() == 0
    text = seen.decode()
    assert "Checkout is slow" in text
    assert "=1+1 | <b> [31m`x` second line" in text


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


@pytest.mark.usefixtures("incidents")
def test_what_does_not_exist_is_answered_with_what_does(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("show", "follow", "export"):
        assert said(capsys, verb, "INC-3", exit_code=2) == (
            'The timeline has no incident, drill or run "INC-3". Did you mean "INC-2"?\nThere are: INC-2, INC-1.\n'
        )


@pytest.mark.usefixtures("stopgap_home")
def test_an_empty_timeline_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "show") == "The timeline has no incidents yet. Start one:  stopgap run RUNBOOK\n"
    assert said(capsys, "show", "--json") == "[]\n"
    assert (
        said(capsys, "show", "INC-1", exit_code=2)
        == 'The timeline has no incident, drill or run "INC-1".\nThe timeline has no incidents yet.\n'
    )
    assert said(capsys, "verify") == "0 entries in 0 chains: unbroken.\n"


@pytest.mark.usefixtures("incidents")
def test_follow_ends_when_it_stays_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "follow", "INC-2", "--until-quiet", "0.05s").splitlines()
    assert [line.split("\t")[1] for line in lines] == ["INC-2#1", "INC-2#2", "INC-2#3"]
    lines = said(capsys, "follow", "INC-2.1", "--until-quiet", "0.05s", "--json").splitlines()
    assert [json.loads(line)["step"] for line in lines] == ["scale"]


@pytest.mark.usefixtures("incidents")
def test_a_duration_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "follow", "INC-2", "--until-quiet", "soon", exit_code=2) == (
        '--until-quiet: "soon" is not a duration; write a number with d, h, m or s, like 90s, 15m or 2h30m.\n'
    )


def test_json_is_what_the_schema_says(incidents: PostgresTimeline, capsys: pytest.CaptureFixture[str]) -> None:
    exported = json.loads(said(capsys, "export", "INC-2", "--format", "json"))
    assert exported == json.loads(said(capsys, "show", "INC-2", "--json"))
    assert [entry["hash"] for entry in exported] == [entry.hash for entry in incidents.of_chain("INC-2")]
    validator = jsonschema.Draft202012Validator(schema.load("entry"))
    for entry in [*exported, *json.loads(said(capsys, "export", "SEALS", "--format", "json"))]:
        validator.validate(entry)


@pytest.mark.usefixtures("incidents")
def test_markdown_is_a_table_that_foreign_text_does_not_break(capsys: pytest.CaptureFixture[str], timeline: PostgresTimeline) -> None:
    assert said(capsys, "export", "INC-2") == (
        "# INC-2\n"
        "\n"
        "3 entries from 2026-11-21 03:01:00 to 2026-11-21 03:01:02 UTC.\n"
        "\n"
        "| time (UTC) | step | what happened | who | kind |\n"
        "|---|---|---|---|---|\n"
        "| 2026-11-21 03:01:00 |  | Checkout is slow | ben | incident.opened |\n"
        "| 2026-11-21 03:01:02 | scale | checkout: 3 -&gt; 9 replicas | stopgap | step.finished |\n"
        "| 2026-11-21 03:01:02 |  | =1+1 \\| &lt;b&gt; \\[31m\\`x\\` second line | ben | note |\n"
        "\n"
        f"The last entry is #3, hash `{timeline.of_chain('INC-2')[-1].hash}`.\n"
    )


@pytest.mark.usefixtures("incidents")
def test_csv_has_no_formulas_and_keeps_every_character(tmp_path: Path) -> None:
    assert run(["timeline", "export", "INC-2", "--format", "csv", "--output", str(tmp_path / "out.csv")]) == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_bytes().decode(), newline="")))
    assert [row["number"] for row in rows] == ["1", "2", "3"]
    assert rows[2]["text"] == "'=1+1 | <b>\x1b[31m`x`\nsecond line"


@pytest.mark.usefixtures("incidents")
def test_a_file_that_cannot_be_written_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "none" / "out.md"
    assert (
        said(capsys, "export", "INC-2", "--output", str(target), exit_code=2) == f"{target} cannot be written: No such file or directory.\n"
    )


def test_verify_says_what_is_wrong_and_where_it_ends(incidents: PostgresTimeline, capsys: pytest.CaptureFixture[str]) -> None:
    end = f"2:{incidents.of_chain('SEALS')[-1].hash}"
    assert said(capsys, "verify", "--since", end) == f"6 entries in 2 chains: unbroken.\nends at {end}\n"
    with incidents.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE entry DISABLE TRIGGER ALL")
        connection.exec_driver_sql("UPDATE entry SET actor = 'eve' WHERE chain = 'INC-2' AND number = 2")
    assert said(capsys, "verify", exit_code=1) == (
        f"INC-2 #2 was changed after it was written.\n6 entries in 2 chains: 1 chain is broken.\nends at {end}\n"
    )
    assert json.loads(said(capsys, "verify", "--json", exit_code=1)) == {
        "entries": 6,
        "chains": 2,
        "end": end,
        "damages": [{"chain": "INC-2", "number": 2, "sentence": "INC-2 #2 was changed after it was written."}],
    }


def test_an_unreachable_database_is_a_sentence(
    capsys: pytest.CaptureFixture[str], stopgap_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stopgap_home
    monkeypatch.setenv("STOPGAP_DATABASE_URL", "postgresql://ann:secret@127.0.0.1:1/stopgap")
    text = said(capsys, "show", exit_code=1)
    assert text.startswith("The timeline's database postgresql+psycopg://ann:***@127.0.0.1:1/stopgap cannot be reached or refused: ")
    assert text.endswith("\nNothing was written. Is PostgreSQL running, and is STOPGAP_DATABASE_URL right?\n")
    assert "secret" not in text


@pytest.mark.parametrize("url", ["mysql://localhost/x", "not a url"])
def test_a_database_that_is_not_postgresql_is_refused(
    capsys: pytest.CaptureFixture[str], stopgap_home: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    assert stopgap_home
    monkeypatch.setenv("STOPGAP_DATABASE_URL", url)
    assert said(capsys, "show", exit_code=2) == (
        f'STOPGAP_DATABASE_URL starts with "{url.partition(":")[0]}:", which is not PostgreSQL.\n'
        "Write it as  STOPGAP_DATABASE_URL=postgresql://user:password@host:5432/stopgap\n"
    )
