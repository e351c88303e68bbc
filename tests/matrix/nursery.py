"""`python -m matrix.nursery SOCKET`: forks a process for each run it is told of on standard input, and says there how each one ended.

A process as the worker's child is: loaded beforehand, of its own, and with nothing but the timeline to go by. It carries its run out on the
timeline and the systems as they are; only Prefect is left out, so that thousands of runs can be killed in minutes. People are played: every
question is answered as the order says, one in doubt is left open.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix import points
from stopgap.actions import registry
from stopgap.approvals.model import Answer, Question
from stopgap.clock import SystemClock
from stopgap.engine import lifeline
from stopgap.engine import run as runs
from stopgap.engine.work import Work
from stopgap.incidents import fold
from stopgap.policy import load as policies
from stopgap.runbook import expressions
from stopgap.runbook import load as runbooks
from stopgap.testing import ScriptedStage
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from stopgap.approvals.model import Gate
    from stopgap.engine.stage import Part
    from stopgap.policy.model import Policy
    from stopgap.runbook.model import Runbook

ENDED, ASKS = 0, 3
LOADED = (
    "alembic.command",
    "alembic.runtime.environment",
    "botocore.session",
    "httpcore",
    "jsonschema_rs",
    "kubernetes.client.rest",
    "kubernetes.config",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
)


class Answering(ScriptedStage):
    """People who approve everything and have done what they were told to; only what is in doubt they leave open."""

    async def wait(self, part: Part, gate: Gate) -> Gate:
        """Answer a gate by what it asks."""
        answers = {Question.APPROVE: Answer.APPROVE, Question.CONFIRM: Answer.DONE}
        if gate.question in answers:
            self.answers[gate.step] = ("ada", answers[gate.question])
        return await super().wait(part, gate)


def carry_out(order: dict[str, Any]) -> int:
    """Carry a run out, from wherever it is; return ENDED, or ASKS when it waits for people."""
    policy, runbook = _policy(order["policy"]), _runbook(order["runbook"])
    with opening.timeline() as timeline:
        run = fold.find_run(timeline, order["run"])
        work = Work(
            timeline=timeline,
            clock=SystemClock(),
            policy=policy,
            runbook=runbook,
            id=run.id,
            mode=run.mode,
            parameters=run.parameters,
        )
        try:
            asyncio.run(runs.carry_out(work, Answering(work)))
        except ScriptedStage.StillWaiting:
            return ASKS
    return ENDED


def main() -> None:
    """Fork for each line until standard input ends; say `{"run", "pid"}` and later `{"pid", "status"}`, negative for a signal."""
    points.install(sys.argv[1])
    _warm_up()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    waiting = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap()
        if 0 in ready:
            read = os.read(0, 65536)
            if not read:
                return
            *lines, waiting = (waiting + read).split(b"\n")
            for line in lines:
                _fork(json.loads(line))


def _warm_up() -> None:
    """Load what every child would load; nothing that starts a thread or opens a connection, for those do not survive a fork."""
    for name in registry.names():
        registry.find(name)
    for name in LOADED:
        importlib.import_module(name)
    runbooks.installed()
    expressions.evaluate("1 + 1", {})
    gc.collect()
    gc.freeze()


def _fork(order: dict[str, Any]) -> None:
    _policy(order["policy"])  # read here once: reading them is half of what each process would take to begin
    _runbook(order["runbook"])
    pid = os.fork()
    if pid:
        _say({"order": order["order"], "pid": pid})
        return
    signal.set_wakeup_fd(-1)
    lifeline.hold(None)
    try:
        os._exit(carry_out(order))
    finally:  # only when it raised
        traceback.print_exc()
        os._exit(1)


@functools.cache
def _policy(path: str) -> Policy:
    return policies.load(Path(path))


@functools.cache
def _runbook(path: str) -> Runbook:
    return runbooks.load(Path(path))


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say({"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(what: dict[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
