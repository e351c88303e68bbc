"""Every command of docs/operations.md, run in its order, in one shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from stopgap import home
from stopgap.cli.main import run
from stopgap.timeline import open as opening
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    import pytest

    from stopgap.timeline.postgres import Server
    from stopgap.timeline.store import PostgresTimeline

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
EXAMPLE = "postgresql://stopgap:secret@db.example.com/stopgap"
NOTE = Draft(chain="INC-1", kind="note", text="kept", actor="ann")


def test_the_commands_of_the_operations_page_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_server: Server) -> None:
    for name in ("STOPGAP_DATABASE_URL", "STOPGAP_TIMELINE_KEY", "STOPGAP_TIMELINE_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    database_server.create_database("operations_page")
    own = database_server.url("operations_page").replace("postgresql+psycopg", "postgresql").replace("&", "\\&")
    blocks = [token.content for token in MarkdownIt().parse(PAGE.read_text()) if token.type == "fence" and token.info == "sh"]
    script = "set -eux\n" + "".join(blocks).replace(EXAMPLE, own)
    with home.temporary() as folder:
        monkeypatch.setenv("STOPGAP_HOME", str(folder))
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        with opening.timeline() as timeline:
            timeline.append(NOTE)
        done = subprocess.run(["bash"], input=script, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 entries in 1 chain: unbroken.\n") == 5
    assert (tmp_path / "before-upgrade.dump").stat().st_mode & 0o777 == 0o600


def test_a_backup_replaces_no_entries(timeline: PostgresTimeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timeline.append(NOTE)
    file = tmp_path / "timeline.dump"
    assert run(["timeline", "backup", str(file)]) == 0
    assert capsys.readouterr().out == f"Saved to {file}. Bring it back with:  stopgap timeline restore {file}\n"
    assert run(["timeline", "restore", str(file)]) == 1
    assert capsys.readouterr().err == (
        "The timeline already has 2 entries, and a backup never replaces any.\n"
        "Move the folder postgres in stopgap's home away, or name an empty database:  STOPGAP_DATABASE_URL=postgresql://...\n"
    )


def test_a_backup_that_is_none_is_refused_and_leaves_the_timeline_as_it_was(
    stopgap_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopgap_home
    (tmp_path / "no.dump").write_text("no dump")
    assert run(["timeline", "restore", str(tmp_path / "no.dump")]) == 1
    assert (
        capsys.readouterr().err
        == "pg_restore could not do it: pg_restore: error: input file does not appear to be a valid archive (too short?)\n"
    )
    assert run(["timeline", "restore", str(tmp_path / "none.dump")]) == 2
    assert capsys.readouterr().err == f"There is no file {tmp_path}/none.dump.\n"
    assert run(["timeline", "backup", str(tmp_path / "none" / "x.dump")]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/none/x.dump cannot be written: No such file or directory.\n"
    assert run(["timeline", "show"]) == 0
