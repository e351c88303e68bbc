"""Many processes on one timeline, from its very first moment."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

from stopgap import home
from stopgap.timeline import open as opening
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from stopgap.timeline.store import PostgresTimeline

PROCESSES = 16
ENTRIES = int(os.environ.get("STOPGAP_TEST_ENTRIES", "2000"))  # 10,000 in CI, which takes half a minute
ONE = """
from stopgap.timeline import open as opening
from stopgap.timeline.entry import Draft
with opening.timeline() as timeline:
    print(timeline.append(Draft(chain="INC-1", kind="note", text="first", actor="ann", key="first")).won)
"""


def _write(url: str, writer: int, start: multiprocessing.synchronize.Barrier) -> None:
    with opening.connected(url) as timeline:
        start.wait()
        for number in range(ENTRIES // PROCESSES):
            timeline.append(Draft(chain="INC-1", kind="note", text=f"{writer}/{number}", actor="ann", incident="INC-1"))


def test_sixteen_processes_leave_an_unbroken_chain(timeline: PostgresTimeline, database_url: str) -> None:
    context = multiprocessing.get_context("forkserver")  # from a process without the threads and clients of the tests before
    context.set_forkserver_preload(["stopgap.timeline.open"])  # sixteen interpreters of their own would take longer to start than to write
    start = context.Barrier(PROCESSES)
    writers = [context.Process(target=_write, args=(database_url, writer, start)) for writer in range(PROCESSES)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    assert [process.exitcode for process in writers] == [0] * PROCESSES
    entries = timeline.of_chain("INC-1")
    assert [entry.number for entry in entries] == list(range(1, ENTRIES + 1))
    assert {entry.text for entry in entries} == {
        f"{writer}/{number}" for writer in range(PROCESSES) for number in range(ENTRIES // PROCESSES)
    }
    assert all(one.at <= later.at for one, later in itertools.pairwise(entries))
    assert timeline.verify().damages == ()


def test_a_timeline_survives_a_fork(timeline: PostgresTimeline) -> None:
    timeline.append(Draft(chain="INC-1", kind="note", text="parent", actor="ann"))
    child = os.fork()
    if child == 0:
        timeline.append(Draft(chain="INC-1", kind="note", text="child", actor="ann"))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    timeline.append(Draft(chain="INC-1", kind="note", text="parent again", actor="ann"))
    assert [entry.text for entry in timeline.of_chain("INC-1")] == ["parent", "child", "parent again"]


def test_processes_that_open_a_new_home_at_once_share_its_database_and_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STOPGAP_DATABASE_URL", "STOPGAP_TIMELINE_KEY", "STOPGAP_TIMELINE_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    with home.temporary() as folder:
        monkeypatch.setenv("STOPGAP_HOME", str(folder))
        writers = [subprocess.Popen([sys.executable, "-c", ONE], stdout=subprocess.PIPE, text=True) for _ in range(3)]
        assert sorted(writer.communicate()[0].strip() for writer in writers) == ["False", "False", "True"]
        assert _mode(folder / "timeline.key") == 0o600
        assert not (folder / "postgres" / "18" / "postmaster.pid").exists()
        with opening.timeline() as timeline:
            assert [entry.text for entry in timeline.of_chain("INC-1")] == ["first"]
            assert timeline.verify().damages == ()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
