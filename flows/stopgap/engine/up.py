"""Everything on one machine: PostgreSQL, Prefect's server, a worker and the alert intake, started in this order, watched, and ended in reverse.

`stopgap up` stays small and does no work of its own: it imports neither Prefect nor runbooks. A part that dies is started again, a few times;
what it was doing is on the timeline. When `up` itself is killed, the server and the worker die with it, and the guardian stops PostgreSQL.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stopgap import home as homes
from stopgap.engine import lifeline, lock, reception, server
from stopgap.problems import StopgapError
from stopgap.timeline import postgres
from stopgap.timeline.open import DATABASE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

_DEATHS, _WITHIN = 3, 60.0  # a part that dies so often in so many seconds is not started again
_PATIENCE = 120.0  # seconds for the worker to become ready; a busy machine is slow
_LOOK_EVERY = 0.5  # seconds


class AlreadyUpError(StopgapError):
    """It already runs on this home."""


class HomeError(StopgapError):
    """The home folder cannot be used."""


class PartError(StopgapError):
    """A part of it died too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """What runs: where to look, and how to get in. `auth` is empty with the user's own Prefect server."""

    pid: int
    home: Path
    ui_url: str
    auth: str
    runbooks: Path
    alerts_url: str


@dataclass(slots=True)
class Parts:
    """The parts of one `up`, and how to start each again."""

    home: Path
    runbooks: Path
    say: Callable[[str], None]
    told: threading.Event = field(default_factory=threading.Event)
    database: postgres.Server | None = None
    prefect: server.PrefectServer | None = None
    worker: subprocess.Popen[bytes] | None = None
    reception: reception.Reception | None = None
    deaths: dict[str, deque[float]] = field(default_factory=dict)

    def start(self) -> Up:
        """Start everything; returns when a run could be started, or when told to stop."""
        self._start_database()
        if not os.environ.get("PREFECT_API_URL"):
            self._launch_prefect()
        ready = self._launch_worker()  # it loads while the server starts
        reception_ready = self._launch_reception()
        self._wait_for_prefect()
        self._wait_for("worker", ready)
        self._wait_for("serve", reception_ready)
        auth = self.prefect.auth if self.prefect else ""
        alerts_url = f"{self.reception.url}/alerts/" if self.reception else ""
        return Up(pid=os.getpid(), home=self.home, ui_url=self._ui_url(), auth=auth, runbooks=self.runbooks, alerts_url=alerts_url)

    def watch(self) -> None:
        """Start again what dies, until told to stop. PartError when something dies again and again."""
        while not self.told.wait(_LOOK_EVERY):
            if self.database and not _listens(self.database):
                self._count("PostgreSQL")
                self._start_database()
            if self.prefect and self.prefect.process.poll() is not None:
                self._count("Prefect's server", self.prefect.process.returncode)
                self._launch_prefect()
                self._wait_for_prefect()
            if self.worker and self.worker.poll() is not None:
                self._count("the worker", self.worker.returncode)
                self._wait_for("worker", self._launch_worker())
            if self.reception and self.reception.process.poll() is not None:
                self._count("the alert intake", self.reception.process.returncode)
                self._wait_for("serve", self._launch_reception())

    def end(self) -> None:
        """End everything in order: runs are handed back before their server goes, and the database goes last."""
        if self.reception:
            lifeline.end(self.reception.process, patience=10)
        if self.worker:
            lifeline.end(self.worker, patience=20)
        if self.prefect:
            self.prefect.end()

    def environment(self) -> dict[str, str]:
        """Return what reaches the Prefect server in use."""
        if self.prefect:
            return server.environment(self.prefect)
        return {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}

    def _start_database(self) -> None:
        """Start PostgreSQL, or join it; a share in one that has died is given back after the new one is had."""
        if os.environ.get("STOPGAP_DATABASE_URL") and os.environ.get("PREFECT_API_URL"):
            return
        old, self.database = self.database, postgres.start(self.home)
        if old:
            old.close()

    def _launch_prefect(self) -> None:
        assert self.database  # noqa: S101  it is started first
        self.database.create_database("prefect")
        self.prefect = server.launch(self.home, self.database.url("prefect", driver="asyncpg"))
        if self.prefect.moved_from:
            self.say(f"Port {self.prefect.moved_from} is taken by another program; Prefect is at {self.prefect.ui_url} now.")

    def _wait_for_prefect(self) -> None:
        if self.prefect:
            server.wait(self.prefect, is_told_to_stop=self.told.is_set)

    def _launch_worker(self) -> int:
        """Start the worker; returns the file descriptor on which it says that it is ready."""
        receiver, sender = os.pipe()
        command = ["stopgap", "worker", "--deploy", "--ready", str(sender)]
        if self.prefect:
            command.append("--prune")  # nobody else registers runbooks with a server of ours
        with server.open_log(self.home / "log" / "worker.log") as log:
            self.worker = lifeline.spawn(command, env=self._worker_environment(), output=log, fds=[sender])
        os.close(sender)
        return receiver

    def _launch_reception(self) -> int:
        """Start the alert intake; returns the file descriptor on which it says that it is ready."""
        launched = reception.launch(self.home, self._worker_environment())
        if launched.moved_from:
            self.say(f"Port {launched.moved_from} is taken by another program; alerts are taken in at {launched.url} now.")
        self.reception = launched
        return launched.ready

    def _wait_for(self, part: str, receiver: int) -> None:
        """Wait until it is ready. Its end of the pipe closes when it dies."""
        deadline = time.monotonic() + _PATIENCE
        log = self.home / "log" / f"{part}.log"
        called = {"worker": "The worker", "serve": "The alert intake"}[part]
        with os.fdopen(receiver, "rb", buffering=0) as pipe:
            while not self.told.is_set():
                if select.select([pipe], [], [], 0.1)[0]:
                    if pipe.read(100):
                        return
                    raise PartError(f"{called} ended while it started. Its log, {log}, ends:\n{_tail(log)}")
                if time.monotonic() > deadline:
                    raise PartError(f"{called} was not ready within {_PATIENCE:g} s. Its log:  {log}")

    def _worker_environment(self) -> dict[str, str]:
        env = {**server.scrubbed(os.environ), **self.environment(), "STOPGAP_HOME": str(self.home), "STOPGAP_RUNBOOKS": str(self.runbooks)}
        if self.database and not os.environ.get("STOPGAP_DATABASE_URL"):
            self.database.create_database(DATABASE)
            env["STOPGAP_DATABASE_URL"] = self.database.url(DATABASE)
        return env

    def _ui_url(self) -> str:
        return self.prefect.ui_url if self.prefect else os.environ["PREFECT_API_URL"].removesuffix("/api")

    def _count(self, part: str, code: int | None = None) -> None:
        now = time.monotonic()
        deaths = self.deaths.setdefault(part, deque(maxlen=_DEATHS))
        deaths.append(now)
        words = f"{part[0].upper()}{part[1:]} has ended" + (f" with code {code}" if code is not None else "")
        if len(deaths) == _DEATHS and now - deaths[0] < _WITHIN:
            raise PartError(f"{words}, {_DEATHS} times within {_WITHIN:g} s; giving up. Logs:  {self.home / 'log'}")
        self.say(f"{words}; starting it again. Runs go on where they were.")


def run(*, say: Callable[[str], None], on_ready: Callable[[Up], None], until_eof: bool = False) -> None:
    """Run everything until SIGINT or SIGTERM, or until standard input ends if asked so. StopgapError when it already runs here, or a part cannot be had."""
    home = homes.data_folder()
    runbooks = homes.runbooks_folder()
    _make(home)
    with ExitStack() as stack:
        _only_one(home, stack)
        parts = Parts(home=home, runbooks=runbooks, say=say)
        _listen_to_signals(parts.told, stack)
        if until_eof:
            threading.Thread(target=_tell_at_eof, args=(parts.told,), daemon=True).start()
        stack.callback(_leave_database, parts)
        stack.callback(parts.end)
        guardian = _guardian(home)
        stack.callback(lifeline.end, guardian, patience=5)
        up = parts.start()
        if parts.told.is_set():
            return
        server.write_private(
            home / "up.json", {"pid": up.pid, "ui_url": up.ui_url, "alerts_url": up.alerts_url, "environment": parts.environment()}
        )
        stack.callback((home / "up.json").unlink, missing_ok=True)
        on_ready(up)
        parts.watch()


def _make(home: Path) -> None:
    try:
        homes.make(home)
        (home / "log").mkdir(mode=0o700, exist_ok=True)
        probe = home / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise HomeError(
            f"{home} cannot be written to: {error.strerror}.\nName another folder:  STOPGAP_HOME=path/to/folder stopgap up"
        ) from error


def _only_one(home: Path, stack: ExitStack) -> None:
    taken = lock.take(home / "up.lock")
    if taken is None:
        pid = lock.holder(home / "up.lock")
        found = server.read_running(home)
        where = f" at {found['ui_url']}" if found else ", and is still starting"
        raise AlreadyUpError(f"stopgap up already runs on {home} (process {pid}){where}.\nEnd that one first:  kill {pid}")
    stack.callback(os.close, taken)


def _listen_to_signals(told: threading.Event, stack: ExitStack) -> None:
    def tell(_number: int, _frame: FrameType | None) -> None:
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        stack.callback(signal.signal, number, signal.signal(number, tell))


def _tell_at_eof(told: threading.Event) -> None:
    while os.read(0, 100):
        pass
    told.set()


def _guardian(home: Path) -> subprocess.Popen[bytes]:
    with server.open_log(home / "log" / "guardian.log") as log:
        return lifeline.spawn(["stopgap.engine.guardian", str(home)], env=os.environ, output=log)


def _leave_database(parts: Parts) -> None:
    if parts.database:
        parts.database.close()


def _listens(database: postgres.Server) -> bool:
    with socket.socket(socket.AF_UNIX) as knock:
        try:
            knock.connect(str(database.socket / ".s.PGSQL.5432"))
        except OSError:
            return False
    return True


def _tail(path: Path, lines: int = 5) -> str:
    return "\n".join(f"  {line}" for line in path.read_text(errors="replace").splitlines()[-lines:])
