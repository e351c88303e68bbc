"""The warm worker: quick, one process a run, and no run lost when a process, the worker or Prefect's server dies."""

from __future__ import annotations

import contextlib
import functools
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.states import Cancelling, Scheduled

from fixtures_prefect import client_of
from stopgap.engine import deploy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun

    from stopgap.engine.server import PrefectServer

HERE = Path(__file__).parent
TOYS = ("quick", "patient", "dies_once", "dies_always", "fails", "missing")
SOON = 30.0  # seconds; a loaded machine is slow, a right answer comes at once


def until(holds: Callable[[], Any], seconds: float = SOON) -> Any:
    """Wait for something that other processes do; there is nothing to wait on but looking."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
    return found


@dataclass
class Toys:
    """The toy deployments, and the log that their runs write."""

    client: SyncPrefectClient
    ids: dict[str, UUID]
    folder: Path
    env: dict[str, str]

    def start(self, name: str, **more: Any) -> FlowRun:
        return self.client.create_flow_run_from_deployment(self.ids[name], **more)

    def said(self, run: FlowRun) -> list[str]:
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.removeprefix(f"{run.id} ") for line in lines if line.startswith(str(run.id))]

    def let_go(self, run: FlowRun) -> None:
        (self.folder / str(run.id)).touch()

    def is_claimed(self, run: FlowRun) -> bool:
        return (self.folder / "claims" / f"{run.id}.json").exists()

    def state(self, run: FlowRun) -> str:
        state = self.client.read_flow_run(run.id).state
        assert state
        return str(state.name)

    def message(self, run: FlowRun) -> str | None:
        state = self.client.read_flow_run(run.id).state
        assert state
        return state.message

    def worker(self, *, patience: float = 0, grace: float = 0, memory: int = 0) -> subprocess.Popen[str]:
        (self.folder / "runbooks").mkdir(exist_ok=True)
        started = subprocess.Popen(
            [sys.executable, HERE / "toy_worker.py", self.folder, self.folder / "runbooks", str(patience), str(grace), str(memory)],
            env=self.env, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert started.stdout
        for line in started.stdout:
            if line == "ready\n":
                return started
        raise AssertionError(f"the worker ended with code {started.wait()}")


class Relay(socketserver.ThreadingTCPServer):
    """Passes what comes on to a server, while it is open."""

    daemon_threads = True
    to: httpx.URL
    is_open = True
    refused = 0

    def has_refused(self, count: int) -> bool:
        return self.refused >= count


class Passing(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        relay = cast("Relay", self.server)
        if not relay.is_open:
            relay.refused += 1
            return
        with socket.create_connection((relay.to.host, relay.to.port or 80)) as there:
            back = threading.Thread(target=_copy, args=(there, self.request))
            back.start()
            _copy(self.request, there)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def toys(prefect_server: PrefectServer, prefect_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toys]:
    folder = tmp_path_factory.mktemp("toys")
    env = {**prefect_env, "PYTHONPATH": str(HERE), "STOPGAP_TOY_LOG": str(folder / "log")}
    with client_of(prefect_server), get_client(sync_client=True) as client:
        ids = {
            name: client.create_deployment(
                flow_id=client.create_flow_from_name(f"toy-{name}"), name="stopgap", entrypoint=f"toy_flows.{name}", tags=[deploy.TAG]
            )
            for name in TOYS
        }
        yield Toys(client=client, ids=ids, folder=folder, env=env)
        for deployment in ids.values():
            client.delete_deployment(deployment)


@pytest.fixture(scope="module")
def worker(toys: Toys) -> Iterator[subprocess.Popen[str]]:
    """One worker for the tests at the end of this module; those before have workers of their own, which would be in its way."""
    started = toys.worker()
    yield started
    end(started)


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> str:
    """End a process that the test started; return the rest of what it said."""
    process.send_signal(number)
    said, _ = process.communicate(timeout=SOON)
    return str(said)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_that_was_due_before_the_worker_came_is_found(toys: Toys) -> None:
    run = toys.start("quick")
    worker = toys.worker()
    until(lambda: toys.state(run) == "Completed")
    end(worker)


def test_a_server_that_is_away_is_one_line_when_it_goes_and_one_when_it_is_back(toys: Toys) -> None:
    run = toys.start("quick")
    with Relay(("127.0.0.1", 0), Passing) as relay:
        relay.to = httpx.URL(toys.env["PREFECT_API_URL"])
        threading.Thread(target=relay.serve_forever, args=(0.05,), daemon=True).start()
        relay.is_open = False
        url = str(relay.to.copy_with(port=relay.server_address[1]))
        worker = subprocess.Popen(
            [sys.executable, HERE / "toy_worker.py", toys.folder, toys.folder / "runbooks", "0", "0", "0"],
            env={**toys.env, "PREFECT_API_URL": url, "PREFECT_CLIENT_MAX_RETRIES": "0"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert worker.stdout
        lines = []
        for line in worker.stdout:
            lines.append(line)
            if "does not answer" in line:
                until(functools.partial(relay.has_refused, relay.refused + 4))  # it looks again, and says nothing
                relay.is_open = True
            if "answers again" in line:
                break
        until(lambda: toys.state(run) == "Completed")
        lines += end(worker).splitlines(keepends=True)
        relay.shutdown()
    said = "".join(lines)
    assert said.count("Prefect's server does not answer") == said.count("Prefect's server answers again") == 1, said
    assert "Traceback" not in said


def test_a_killed_worker_leaves_no_process_and_its_run_goes_on_with_the_next(toys: Toys) -> None:
    worker = toys.worker()
    run = toys.start("patient")
    pid = int(until(lambda: toys.said(run))[0].split()[2])
    end(worker, signal.SIGKILL)
    until(lambda: not is_alive(pid))
    assert toys.state(run) == "Running"
    toys.let_go(run)
    successor = toys.worker()
    until(lambda: toys.state(run) == "Completed")
    assert [line.split()[:2] for line in toys.said(run)] == [["patient", "1"], ["patient", "2"], ["patient", "done"]]
    end(successor)


def test_a_worker_that_is_told_to_end_hands_back_what_it_cannot_finish(toys: Toys) -> None:
    worker = toys.worker()
    run = toys.start("patient")
    pid = int(until(lambda: toys.said(run))[0].split()[2])
    said = end(worker)
    assert worker.returncode == 0
    assert not is_alive(pid)
    assert f"{run.name} is handed back: it goes on where it was when a worker runs again\n" in said
    assert toys.state(run) == "AwaitingRetry"
    toys.let_go(run)
    assert not toys.is_claimed(run)


def test_a_worker_that_is_told_to_end_lets_runs_finish_within_its_patience(toys: Toys) -> None:
    worker = toys.worker(patience=20)
    run = toys.start("patient")
    until(lambda: toys.said(run))
    worker.terminate()
    toys.let_go(run)
    end(worker)
    assert toys.state(run) == "Completed"
    assert toys.said(run)[-1] == "patient done"


def test_a_cancelled_run_whose_step_does_not_end_is_killed_after_the_grace(toys: Toys) -> None:
    worker = toys.worker(grace=1)
    run = toys.start("patient")
    pid = int(until(lambda: toys.said(run))[0].split()[2])
    toys.client.set_flow_run_state(run.id, Cancelling(), force=True)
    until(lambda: not is_alive(pid))
    until(lambda: toys.state(run) == "Cancelled")
    until(lambda: not toys.is_claimed(run))
    assert f"{run.id} was cancelled and has not ended within 1 s; its process is killed\n" in end(worker)
    assert len(toys.said(run)) == 1


def test_a_process_that_grows_too_big_is_killed_and_in_the_end_its_run_is_given_up(toys: Toys) -> None:
    worker = toys.worker(memory=1)
    run = toys.start("patient")
    until(lambda: toys.state(run) == "Crashed")
    assert " MB, and may have 1; it is killed, and its run goes on anew\n" in end(worker)


def test_a_run_is_executed_at_once_in_a_process_of_its_own(toys: Toys, worker: subprocess.Popen[str]) -> None:
    runs = [toys.start("quick") for _ in range(3)]
    until(lambda: all(toys.state(run) == "Completed" for run in runs))
    said = [toys.said(run)[0].split() for run in runs]
    assert [words[:2] for words in said] == [["quick", "1"]] * 3
    pids = {words[2] for words in said}
    assert len(pids) == 3
    assert str(worker.pid) not in pids


def test_a_run_for_later_waits_until_it_is_due(toys: Toys, worker: subprocess.Popen[str]) -> None:
    assert worker.pid
    from datetime import UTC, datetime, timedelta

    due = datetime.now(UTC) + timedelta(seconds=3)
    run = toys.start("quick", state=Scheduled(scheduled_time=due))
    until(lambda: toys.state(run) == "Completed")
    started = toys.client.read_flow_run(run.id).start_time
    assert started
    assert started >= due


def test_a_run_whose_process_dies_goes_on_under_the_same_id(toys: Toys, worker: subprocess.Popen[str]) -> None:
    run = toys.start("dies_once")
    until(lambda: toys.state(run) == "Completed")
    assert toys.said(run) == ["dies-once 1", "dies-once 2"]
    assert worker.poll() is None


def test_a_run_whose_process_always_dies_is_given_up(toys: Toys, worker: subprocess.Popen[str]) -> None:
    run = toys.start("dies_always")
    until(lambda: toys.state(run) == "Crashed")
    assert toys.said(run) == ["dies-always 1", "dies-always 2", "dies-always 3"]
    assert toys.message(run) == "Its process died 3 times in a row. What it did is on the timeline; nothing is repeated by itself."
    assert worker.poll() is None
    assert not toys.is_claimed(run)


def test_a_run_that_fails_is_not_tried_again(toys: Toys, worker: subprocess.Popen[str]) -> None:
    run = toys.start("fails")
    until(lambda: toys.state(run) == "Failed")
    until(lambda: not toys.is_claimed(run))
    assert worker.poll() is None
    assert toys.state(run) == "Failed"


def test_a_flow_that_cannot_be_loaded_fails_its_run_with_the_reason(toys: Toys, worker: subprocess.Popen[str]) -> None:
    assert worker.pid
    run = toys.start("missing")
    until(lambda: toys.state(run) == "NotLoaded")
    assert toys.message(run) == "toy_flows.missing cannot be loaded: module 'toy_flows' has no attribute 'missing'"


def test_the_pool_has_no_thread_before_a_fork(toys: Toys, worker: subprocess.Popen[str]) -> None:
    assert toys.ids
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    servers = [pid for pid in children if "forkserver" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert len(servers) == 1
    assert len(list(Path(f"/proc/{servers[0]}/task").iterdir())) == 1
