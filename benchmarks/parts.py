"""What the benchmarks start: a sandbox, PostgreSQL, Prefect's server and workers, in parts that can be killed and started again one by one."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from stopgap import home
from stopgap.approvals import decide
from stopgap.approvals.model import Answer, Attempt, Gate
from stopgap.clock import SystemClock
from stopgap.engine import lifeline, server, start
from stopgap.engine.api import Api
from stopgap.incidents.model import Mode, Run
from stopgap.incidents.open import open_incident, request_run
from stopgap.policy import load as policies
from stopgap.runbook import load as runbooks
from stopgap.timeline import open as opening
from stopgap.timeline import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.policy.model import Policy
    from stopgap.runbook.model import Runbook
    from stopgap.timeline.store import PostgresTimeline

NAMESPACE = "shop"
POLICY = """\
apiVersion: stopgap/v1
kind: Policy
people: {{ada: {{name: Ada Amari}}, dana: {{name: Dana Diaz}}}}
teams: {{oncall: [ada, dana]}}
roles: {{incident-commander: {{holders: [ada]}}}}
clusters: {{sandbox: {{kubeconfig: {kubeconfig}, context: sandbox}}}}
approvals: {{require_code: false, expires: 1h}}
"""


@dataclass(slots=True)
class Parts:
    """Everything that runs. Start and kill things in the main thread: they die with the thread that started them."""

    folder: Path
    env: dict[str, str]
    sandbox: str  # its URL
    database: postgres.Server
    prefect: server.PrefectServer
    timeline: PostgresTimeline
    policy: Policy
    books: Mapping[str, Runbook]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def api(self) -> Api:
        """Prefect's API."""
        return Api(url=self.prefect.api_url, auth=self.prefect.auth)

    @property
    def postmaster(self) -> int:
        """PostgreSQL's first process."""
        (file,) = (self.folder / "postgres").glob("[0-9]*/postmaster.pid")
        return int(file.read_text().splitlines()[0])

    def add_worker(self, *, at_once: int = 8) -> None:
        """Start one more worker, on a home of its own; returns when it is ready."""
        receiver, sender = os.pipe()
        self.workers.append(self._start_worker(len(self.workers), at_once=at_once, ready=sender))
        os.close(sender)
        with os.fdopen(receiver, "rb", buffering=0) as pipe:
            ready, _, _ = select.select([pipe], [], [], 120)
            if not ready or not pipe.read(100):
                sys.exit((self.folder / "log" / f"worker{len(self.workers) - 1}.log").read_text()[-3000:])

    def end_workers(self) -> None:
        """End all workers in good order."""
        for worker in self.workers:
            lifeline.end(worker, patience=10)
        self.workers.clear()

    def request(self, book: str, parameters: Mapping[str, Any]) -> Run:
        """Put a request for a run on the timeline."""
        runbook, key = self.books[book], uuid.uuid4().hex
        incident = open_incident(self.timeline, title=runbook.title, severity=runbook.severity, actor="dana", key=key)
        return request_run(
            self.timeline, incident=incident, runbook=runbook, parameters=parameters, mode=Mode.LIVE, starter="dana", key=key
        )

    def schedule(self, run: Run) -> str:
        """Hand it to Prefect; return the flow run."""
        return start.schedule(self.timeline, self.api, run)

    def decide(self, run: Run, gate: Gate, answer: Answer) -> bool:
        """Answer as `stopgap approve` does, and wake the run."""
        attempt = Attempt(
            id=f"bench/{uuid.uuid4().hex}", person="ada", answer=str(answer), digest=gate.digest, reason="", channel="benchmark"
        )
        accepted = decide.decide(self.timeline, self.policy, SystemClock(), run=run, attempt=attempt).accepted
        start.wake(self.api, run)
        return accepted

    def kill(self, part: str) -> None:
        """Kill one child, one worker, the server or PostgreSQL, and start it again."""
        means = {"child": self._kill_child, "worker": self._kill_worker, "server": self._kill_server, "postgres": self._kill_database}
        self.kills[part] += means[part]()

    def _start_worker(self, number: int, *, at_once: int, ready: int | None = None) -> subprocess.Popen[bytes]:
        own = self.folder / f"worker{number}"
        home.make(own)
        env = {**self.env, **server.environment(self.prefect), "STOPGAP_HOME": str(own)}
        words = ["stopgap", "worker", "--at-once", str(at_once), "--deploy"]
        with server.open_log(self.folder / "log" / f"worker{number}.log") as log:
            told = [] if ready is None else ["--ready", str(ready)]
            return lifeline.spawn([*words, *told], env=env, output=log, fds=[] if ready is None else [ready])

    def _kill_child(self) -> int:
        """Kill a process that executes a run: it has threads, unlike those that wait for one."""
        found = [pid for worker in self.workers for fork_server in children(worker.pid) for pid in children(fork_server)]
        busy = [pid for pid in found if threads(pid) > 1]
        return slain(random.choice(busy)) if busy else 0

    def _kill_worker(self) -> int:
        number = random.randrange(len(self.workers))
        self.workers[number].kill()
        self.workers[number].wait()
        self.workers[number] = self._start_worker(number, at_once=8)
        return 1

    def _kill_server(self) -> int:
        self.prefect.process.kill()
        self.prefect.process.wait()
        self.prefect = server.launch(self.folder, self.database.url("prefect", driver="asyncpg"))
        return 1

    def _kill_database(self) -> int:
        for pid in (self.postmaster, *children(self.postmaster)):
            slain(pid)
        old, self.database = self.database, postgres.start(self.folder)
        old.close()
        return 1


def slain(pid: int) -> int:
    """Kill a process; return 1 if it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def children(parent: int) -> list[int]:
    """Return the processes that this one started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(process.name))
    return found


def threads(pid: int) -> int:
    """Return how many threads a process has; 0 when it is gone."""
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return 0


def busy(pid: int) -> float:
    """Return how many seconds a process, those that it started and those that these started have kept a processor busy."""
    try:
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # proc(5): utime, stime, and those of children that have ended
    return own + sum(map(busy, children(pid)))


@contextlib.contextmanager
def stack(deployments: int, *, books: Mapping[str, str]) -> Iterator[Parts]:
    """Start all but the workers: a sandbox with Deployments `app-0`, `app-1` ..., and these runbooks, texts by name."""
    with home.temporary() as folder, contextlib.ExitStack() as opened:
        clean = {name: value for name, value in server.scrubbed(os.environ).items() if not name.startswith("STOPGAP_")}
        (folder / "log").mkdir()
        url, kubeconfig = opened.enter_context(_sandbox(folder / "world", clean, deployments))
        loaded = {name: _written(folder / "runbooks" / f"{name}.yaml", text) for name, text in books.items()}
        policy = folder / "runbooks" / "policy.yaml"
        policy.write_text(POLICY.format(kubeconfig=kubeconfig))
        database = postgres.start(folder)
        for each in ("prefect", "stopgap"):
            database.create_database(each)
        ours = {
            "STOPGAP_DATABASE_URL": database.url("stopgap"),
            "STOPGAP_TIMELINE_KEY": "the key of a benchmark",
            "STOPGAP_RUNBOOKS": str(folder / "runbooks"),
        }
        os.environ.update(ours, STOPGAP_HOME=str(folder))
        prefect = server.start(folder, database.url("prefect", driver="asyncpg"))
        timeline = opened.enter_context(opening.timeline())
        parts = Parts(folder, {**clean, **ours}, url, database, prefect, timeline, policies.load(policy), loaded)
        try:
            yield parts
        finally:
            parts.end_workers()
            parts.prefect.end()
            parts.database.close()


def _written(path: Path, text: str) -> Runbook:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return runbooks.load(path)


@contextlib.contextmanager
def _sandbox(folder: Path, env: Mapping[str, str], deployments: int) -> Iterator[tuple[str, str]]:
    words = [sys.executable, "-m", "stopgap.drills.world", "--home", str(folder), "--empty"]
    with subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as world:
        try:
            found = json.loads(world.stdout.readline() if world.stdout else "")
            _fill(found["url"], deployments)
            yield found["url"], found["kubeconfig"]
        finally:
            if world.stdin:
                world.stdin.close()


def _fill(url: str, deployments: int) -> None:
    with httpx.Client(base_url=url, headers={"authorization": "Bearer sandbox-admin"}, trust_env=False) as admin:
        admin.post("/api/v1/namespaces", json={"metadata": {"name": NAMESPACE}}).raise_for_status()
        for number in range(deployments):
            labels = {"app": f"app-{number}"}
            template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]}}
            spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
            body = {"metadata": {"name": f"app-{number}"}, "spec": spec}
            admin.post(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments", json=body).raise_for_status()
        time.sleep(1)  # its Pods are ready after half of that
