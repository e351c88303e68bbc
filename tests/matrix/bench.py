"""`Bench`: the timeline, the systems and the control on which runs of the matrix are made, killed and judged."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import threading
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from matrix.case import NAME
from matrix.cases import CASES, NESTED
from stopgap.actions import registry
from stopgap.approvals import decide
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer, Attempt, Question
from stopgap.clock import SystemClock
from stopgap.incidents import fold
from stopgap.incidents.model import Mode, Run
from stopgap.incidents.open import open_incident, request_run
from stopgap.policy import load as policies
from stopgap.runbook import load as runbooks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.case import Case
    from matrix.control import Control
    from matrix.systems import Systems
    from stopgap.runbook.model import Runbook
    from stopgap.timeline.store import PostgresTimeline

HERE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run came out, as far as it must be the same however it was killed."""

    end: str
    steps: Mapping[str, str]
    state: Any


@dataclass(slots=True)
class Bench:
    """Where runs are made. `runbooks` holds one for every action that has a case."""

    folder: Path
    timeline: PostgresTimeline
    systems: Systems
    control: Control
    runbooks: dict[str, Runbook] = field(default_factory=dict)
    # Another bench, or one that was killed, may have left things on the same cluster.
    numbers: Any = field(default_factory=lambda: itertools.count(random.randrange(1_000, 1_000_000)))

    @property
    def policy(self) -> Path:
        return self.folder / "policy.yaml"

    def write_runbooks(self) -> None:
        """Write a runbook for every action: a gate, the action, its verification; then a step that fails, so that it is taken back."""
        for action, case in CASES.items():
            if case.lacks(self.systems):
                continue
            path = self.folder / f"{slug(action)}.yaml"
            path.write_text(yaml.safe_dump(_runbook(action, case, self.systems), sort_keys=False))
            self.runbooks[action] = runbooks.load(path)
        (self.folder / "nested.yaml").write_text(yaml.safe_dump(_nested(self.systems), sort_keys=False))

    def request(self, action: str) -> tuple[Run, str]:
        """Set up an object of its own and ask for a run on it; return the run and the object's name."""
        name = f"{slug(action)}-{next(self.numbers)}"
        parameters = {"name": name, "thing": CASES[action].make(self.systems, name) or ""}
        runbook, key = self.runbooks[action], uuid.uuid4().hex
        incident = open_incident(self.timeline, title=runbook.title, severity=runbook.severity, actor="dana", key=key)
        run = request_run(self.timeline, incident=incident, runbook=runbook, parameters=parameters, mode=Mode.LIVE, starter="dana", key=key)
        return run, name

    def answer_doubt(self, run: Run, name: str) -> None:
        """Say, as the incident commander, what became of an effect about which the system cannot tell: look at the system, and say so."""
        gate = gates.waiting(self.timeline.of_run(run.id))
        assert gate
        assert gate.question is Question.DOUBT
        happened = self.systems.effects()[name] > (1 if gate.step.endswith(".undo") else 0)
        answer = Answer.DONE if happened else Answer.AGAIN
        attempt = Attempt(
            id=f"matrix/{uuid.uuid4().hex}", person="ada", answer=str(answer), digest=gate.digest, reason="", channel="the matrix"
        )
        policy = policies.load(self.policy)
        verdict = decide.decide(self.timeline, policy, SystemClock(), run=run, attempt=attempt)
        assert verdict.accepted, verdict.text

    def account(self, run: Run) -> str:
        """Return what a run's timeline says, for whoever reads that a test failed."""
        return "\n".join(f"{entry.kind} {entry.step}: {entry.text}" for entry in self.timeline.of_run(run.id))

    def ended(self, action: str, run: Run, name: str) -> Ended:
        """Read how a run came out, and remove its object."""
        found = fold.find_run(self.timeline, run.id)
        steps = {str(step.id): str(step.status) for step in found.steps.values()}
        state = CASES[action].look(self.systems, name)
        CASES[action].remove(self.systems, name)
        return Ended(str(found.end), steps, state)


def slug(action: str) -> str:
    """`kubernetes.scale` -> `kubernetes-scale`."""
    return action.replace(".", "-").replace("_", "-")


def _runbook(action: str, case: Case, systems: Systems) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [
        {
            "id": "act",
            "name": "Act",
            "uses": action,
            "with": dict(case.arguments(systems)),
            "timeout": "15m",  # it may be held at a point until all the others have come to theirs
            "approval": {"by": ["incident-commander"]},
            "verify": {"uses": "http.wait", "with": {"url": f"{systems.web.url}/ok/{NAME}", "within": "30s"}},
        }
    ]
    if registry.load(action).undoes != "no":
        fails = {"uses": "wait", "with": {"for": "1h"}, "timeout": "1s", "on_failure": "rollback"}
        steps.append({"id": "fail", "name": "Fail", **fails})
    return {
        "apiVersion": "stopgap/v1",
        "kind": "Runbook",
        "name": slug(action),
        "title": action,
        "description": f"Tries {action}.",
        "owner": "oncall",
        "severity": "SEV3",
        "parameters": {"name": {"type": "string"}, "thing": {"type": "string"}},
        "steps": steps,
    }


def _nested(systems: Systems) -> dict[str, Any]:
    """The runbook that another one runs: as that of its action, without a gate and without a step that fails."""
    whole = _runbook(NESTED, CASES[NESTED], systems)
    return {**whole, "name": "nested", "steps": [{key: value for key, value in whole["steps"][0].items() if key != "approval"}]}


@dataclass(slots=True)
class Nursery:
    """The processes that carry runs out without Prefect; see `matrix.nursery`."""

    bench: Bench
    env: Mapping[str, str]
    _orders: dict[str, Future[int]] = field(default_factory=dict)
    _ends: dict[int, Future[int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _process: subprocess.Popen[str] = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        words = [sys.executable, "-m", "matrix.nursery", str(self.bench.control.path)]
        env = {**self.env, "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [self.env.get("PYTHONPATH")])])}
        self._process = subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._listen, name="nursery")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            assert self._process.stdin
            self._process.stdin.close()
            self._thread.join()

    def carry_out(self, action: str, run: Run) -> tuple[int, Future[int]]:
        """Let a new process go on with a run; return its process id, and what will be its exit code."""
        order, started = uuid.uuid4().hex, Future[int]()
        said = {"order": order, "run": run.id, "runbook": str(self.bench.runbooks[action].path), "policy": str(self.bench.policy)}
        with self._lock:
            self._orders[order] = started
            assert self._process.stdin
            self._process.stdin.write(json.dumps(said) + "\n")
            self._process.stdin.flush()
        pid = started.result(60)
        return pid, self._end_of(pid)

    def _end_of(self, pid: int) -> Future[int]:
        with self._lock:
            return self._ends.setdefault(pid, Future())

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            said = json.loads(line)
            if "order" in said:
                with self._lock:
                    self._ends[said["pid"]] = Future()
                self._orders.pop(said["order"]).set_result(said["pid"])
            else:
                self._end_of(said["pid"]).set_result(said["status"])
