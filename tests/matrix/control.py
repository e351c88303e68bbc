"""`Control`: hears where every process is, remembers it, and holds a run at the point that it is armed with."""

from __future__ import annotations

import json
import socketserver
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 300.0  # seconds; a loaded machine is slow


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A point of a run: the `number`-th time that a process is `when` (before, after) `what` of a step."""

    when: str
    what: str
    step: str
    number: int = 1

    def __str__(self) -> str:
        step = f" of {self.step}" if self.step else ""
        again = f" (time {self.number})" if self.number > 1 else ""
        return f"{self.when} {self.what}{step}{again}"


@dataclass(slots=True, eq=False)
class Hold:
    """A run that is to stop at a point. `pid` is the process that stands there."""

    run: str
    point: Point
    pid: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class Control:
    """The tests' end of the Unix socket. Use it as a context manager. Of processes that are not called `only`, nothing is noted."""

    def __init__(self, path: Path, *, only: str = "MainProcess") -> None:
        self.path = path
        self._only = only
        self._lock = threading.Lock()
        self._seen: dict[str, list[Point]] = defaultdict(list)
        self._counts: Counter[tuple[str, str, str, str]] = Counter()
        self._holds: dict[str, Hold] = {}

    def __enter__(self) -> Self:
        self._server = _Server(str(self.path), _Hear)
        self._server.control = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="control")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for hold in self._holds.values():
            hold.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def arm(self, run: str, point: Point) -> Hold:
        """Hold this run at this point."""
        hold = Hold(run, point)
        with self._lock:
            self._holds[run] = hold
        return hold

    def seen(self, run: str) -> list[Point]:
        """Return the points that a run came to, in order."""
        with self._lock:
            return list(self._seen[run])

    def hear(self, said: dict[str, Any]) -> None:
        """Note where a process is; returns when it may go on."""
        if said["process"] != self._only:
            return
        run, when, what, step = said["run"], said["when"], said["what"], said["step"]
        with self._lock:
            self._counts[run, when, what, step] += 1
            point = Point(when, what, step, self._counts[run, when, what, step])
            self._seen[run].append(point)
            hold = self._holds.get(run)
        if hold and hold.point == point:
            hold.pid = said["pid"]
            hold.reached.set()
            hold.released.wait()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    control: Control

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A process that was killed at its point does not hear the answer."""


class _Hear(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline()
        if line:
            cast("_Server", self.server).control.hear(json.loads(line))
            self.wfile.write(b".")
