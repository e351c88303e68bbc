"""`Stack`: everything that really carries runs out, in parts that can be killed and started again one by one.

PostgreSQL, Prefect's server and stopgap's worker with its children, as `stopgap up` starts them. Here the tests start them, so that a part
comes back when they say so and not within half a second.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from matrix.bench import HERE
from stopgap.approvals import decide
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer, Attempt, Question
from stopgap.clock import SystemClock
from stopgap.engine import lifeline, server, start
from stopgap.engine.api import Api
from stopgap.incidents import fold
from stopgap.policy import load as policies
from stopgap.problems import StopgapError
from stopgap.timeline import postgres

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

    from matrix.bench import Bench
    from stopgap.incidents.model import Run

ANSWERS = {Question.APPROVE: Answer.APPROVE, Question.CONFIRM: Answer.DONE}
LEASE = "4s"
LONGEST_CALL = "10s"


@dataclass(slots=True)
class Stack:
    """The parts. `at_once` runs execute at the same time."""

    home: Path
    env: Mapping[str, str]
    at_once: int = 32
    database: postgres.Server = field(init=False)
    prefect: server.PrefectServer = field(init=False)
    worker: subprocess.Popen[bytes] = field(init=False)

    def __enter__(self) -> Self:
        (self.home / "log").mkdir(exist_ok=True)
        self.start_database()
        self.start_server()
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "worker"):
            lifeline.end(self.worker, patience=20)
        self.prefect.end()
        self.database.close()

    @property
    def api(self) -> Api:
        return Api(url=self.prefect.api_url, auth=self.prefect.auth)

    def start_database(self) -> None:
        """Start PostgreSQL, or start it again after it was killed."""
        old = getattr(self, "database", None)
        self.database = postgres.start(self.home)
        if old:
            old.close()
        self.database.create_database("prefect")
        self.database.create_database("stopgap")

    def start_server(self) -> None:
        self.prefect = server.start(self.home, self.database.url("prefect", driver="asyncpg"))

    def start_worker(self, *, runbooks: Path, control: Path) -> None:
        """Start a worker whose processes say their points; returns when it is ready."""
        receiver, sender = os.pipe()
        words = ["stopgap", "worker", "--deploy", "--at-once", str(self.at_once), "--lease", LEASE, "--ready", str(sender)]
        path = os.pathsep.join([str(HERE / "matrix" / "hooked"), str(HERE), *filter(None, [self.env.get("PYTHONPATH")])])
        env = {
            **self.env,
            **server.environment(self.prefect),
            "STOPGAP_RUNBOOKS": str(runbooks),
            "STOPGAP_LONGEST_CALL": LONGEST_CALL,
            "STOPGAP_MATRIX": str(control),
            "PYTHONPATH": path,
        }
        with server.open_log(self.home / "log" / "worker.log") as log:
            self.worker = lifeline.spawn(words, env=env, output=log, fds=[sender])
        os.close(sender)
        with os.fdopen(receiver, "rb", buffering=0) as pipe:
            ready, _, _ = select.select([pipe], [], [], 120)
            assert ready, self.logs()
            assert pipe.read(100), self.logs()

    def logs(self) -> str:
        """Return how the logs of the worker and of Prefect's server end."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted((self.home / "log").glob("*.log")))

    def kill_worker(self) -> None:
        """Kill the worker; its children die with it."""
        self.worker.kill()
        self.worker.wait()
        if self.worker.stdin:
            self.worker.stdin.close()

    def kill_server(self) -> None:
        self.prefect.process.kill()
        self.prefect.process.wait()
        if self.prefect.process.stdin:
            self.prefect.process.stdin.close()

    def kill_database(self) -> None:
        """Kill PostgreSQL with every process of it."""
        (data,) = (self.home / "postgres").glob("[0-9]*/postmaster.pid")
        first = int(data.read_text().splitlines()[0])
        for pid in (first, *_children_of(first)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _children_of(parent: int) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                yield int(process.name)


@dataclass(slots=True)
class People:
    """Whoever is on duty: answers every open gate of a run as it should be, when the run sleeps there."""

    bench: Bench
    stack: Stack
    asked: Counter[str] = field(default_factory=Counter)  # run -> how often it asked what became of its effect

    def look(self, run: Run, name: str, *, but: str = "") -> bool:
        """Answer what the run asks, if it asks, but not at that step; return whether it has ended. What is away just now is tried at the next look."""
        with contextlib.suppress(StopgapError):
            found = fold.find_run(self.bench.timeline, run.id)
            if found.end is None:
                self._answer(found, name, but=but)
            return found.end is not None
        return False

    def sleeps_at(self, run: Run) -> str:
        """Return the step at whose gate the run sleeps, without a process; empty when it does not."""
        found = fold.find_run(self.bench.timeline, run.id)
        gate = gates.waiting(self.bench.timeline.of_run(run.id))
        return str(gate.step) if gate and self.stack.api.flow_run(found.flow_run).state == "PAUSED" else ""

    def _answer(self, run: Run, name: str, *, but: str) -> None:
        gate = gates.waiting(self.bench.timeline.of_run(run.id))
        if gate is None or gate.step == but or self.stack.api.flow_run(run.flow_run).state != "PAUSED":
            return
        if gate.question is Question.DOUBT:
            self.asked[run.id] += 1
            self.bench.answer_doubt(run, name)
        else:
            attempt = Attempt(
                id=f"matrix/{uuid.uuid4().hex}",
                person="ada",
                answer=str(ANSWERS[gate.question]),
                digest=gate.digest,
                reason="",
                channel="the matrix",
            )
            decide.decide(self.bench.timeline, policies.load(self.bench.policy), SystemClock(), run=run, attempt=attempt)
        start.wake(self.stack.api, run)
