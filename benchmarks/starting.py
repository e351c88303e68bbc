"""How long a run takes from being created to its first step, and from a decision to the next step.

    .venv/bin/python benchmarks/starting.py                  50 runs each, one after the other; about 25 minutes, most of it Prefect's own worker
    .venv/bin/python benchmarks/starting.py --count 20 --others 5

Created -> first step started: by stopgap's warm worker, by Prefect's process worker with its defaults, and by `serve()` with its defaults; the same runbook, the
same server, in one go. Decision -> step started: the form of the Prefect UI submitted through its API, and `stopgap approve`'s way. All moments are
those of the timeline's own entries, on one machine's clock.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

import parts
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer
from stopgap.engine import deploy, lifeline, server
from stopgap.incidents import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stopgap.incidents.model import Run

ROOT = Path(__file__).parents[1]
HEAD = """\
apiVersion: stopgap/v1
kind: Runbook
name: {name}
title: {name}
description: For a benchmark.
owner: oncall
severity: SEV3
steps:
  - {{id: tell, name: Tell people, uses: note, with: {{text: hello}}{gate}}}
"""
BOOKS = {"plain": HEAD.format(name="plain", gate=""), "asks": HEAD.format(name="asks", gate=", approval: {by: [incident-commander]}")}
SERVE = """
import prefect, stopgap_flows
from prefect.deployments.runner import EntrypointType
prefect.serve(stopgap_flows.plain.to_deployment(name="stopgap", entrypoint_type=EntrypointType.MODULE_PATH))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how soon runs start and go on.")
    parser.add_argument("--count", type=int, default=50, help="runs by stopgap's worker, and decisions by each way")
    parser.add_argument("--others", type=int, default=None, help="runs by Prefect's process worker and by serve(); as many by default")
    asked = parser.parse_args()
    others = asked.count if asked.others is None else asked.others
    begin()
    with parts.stack(0, books=BOOKS) as stack:
        stack.add_worker()
        say("created -> first step, stopgap worker", [started(stack) for _ in range(asked.count)])
        for name, decide in (("form submitted -> step, Prefect UI's way", submit), ("approved -> step, stopgap approve's way", approve)):
            say(name, [decided(stack, decide) for _ in range(asked.count)])
        stack.end_workers()
        if others:
            for name, way in (
                ("created -> first step, serve()", serving),
                ("created -> first step, Prefect's process worker", process_worker),
            ):
                with way(stack):
                    say(name, [started(stack) for _ in range(others)])


def begin() -> None:
    """Print the head of the table."""
    print("| what | median | p95 | longest | runs |", "|---|---|---|---|---|", sep="\n", flush=True)


def say(name: str, found: list[float]) -> None:
    """Print a row of the table as soon as it is measured."""
    ordered = sorted(found)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    print(f"| {name} | {statistics.median(found):.2f} s | {p95:.2f} s | {ordered[-1]:.2f} s | {len(found)} |", flush=True)


def started(stack: parts.Parts) -> float:
    """Seconds from the moment Prefect is asked to create the flow run to the entry of its first step."""
    run = stack.request("plain", {})
    created = datetime.now(UTC)
    stack.schedule(run)
    found = float((entry_of(stack, run, "step.started").at - created).total_seconds())
    entry_of(stack, run, "run.finished")
    time.sleep(0.3)  # the process that was forked in its place is loaded meanwhile, as between two incidents
    return found


def decided(stack: parts.Parts, decide: Callable[[parts.Parts, Run], None]) -> float:
    """Seconds from a decision to the entry of the step that it lets begin."""
    run = stack.request("asks", {})
    flow_run = stack.schedule(run)
    entry_of(stack, run, "gate.asked")
    until(lambda: stack.api.flow_run(flow_run).state == "PAUSED")
    time.sleep(0.5)
    began = datetime.now(UTC)
    decide(stack, run)
    found = float((entry_of(stack, run, "step.started").at - began).total_seconds())
    entry_of(stack, run, "run.finished")
    return found


def submit(stack: parts.Parts, run: Run) -> None:
    gate = gates.waiting(stack.timeline.of_run(run.id))
    assert gate
    fields = {"decision": str(Answer.APPROVE), "change": gate.digest, "name": "ada", "reason": ""}
    flow_run = entry_of(stack, run, "run.scheduled").data["flow_run"]
    auth = httpx.BasicAuth(*stack.prefect.auth.split(":", 1))
    answer = httpx.post(f"{stack.prefect.api_url}/flow_runs/{flow_run}/resume", json={"run_input": fields}, auth=auth, trust_env=False)
    assert answer.json()["status"] == "ACCEPT", answer.text


def approve(stack: parts.Parts, run: Run) -> None:
    gate = gates.waiting(stack.timeline.of_run(run.id))
    assert gate
    assert stack.decide(fold.find_run(stack.timeline, run.id), gate, Answer.APPROVE)


def entry_of(stack: parts.Parts, run: Run, kind: str) -> Any:
    return until(lambda: next((entry for entry in stack.timeline.of_run(run.id) if entry.kind == kind), None))


def until(holds: Callable[[], Any], seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
    return found


@contextmanager
def serving(stack: parts.Parts) -> Iterator[None]:
    """Prefect's `serve()` with its defaults."""
    with process(stack, "-c", SERVE):
        yield


@contextmanager
def process_worker(stack: parts.Parts) -> Iterator[None]:
    """Prefect's process worker with its defaults."""
    folder = Path(os.environ["STOPGAP_RUNBOOKS"])
    (folder / "flows").symlink_to(ROOT / "flows")
    (folder / "prefect.yaml").write_text(deploy.project_file({"plain": stack.books["plain"]}))
    for words in (["work-pool", "create", "stopgap", "--type", "process"], ["deploy", "--all"]):
        subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *words],
            cwd=folder,
            env=environment(stack),
            check=True,
            stdout=subprocess.DEVNULL,
        )
    with process(stack, "-m", "prefect", "worker", "start", "--pool", "stopgap"):
        yield


@contextmanager
def process(stack: parts.Parts, *words: str) -> Iterator[None]:
    log = (stack.folder / "log" / "other.log").open("ab")
    with (
        log,
        subprocess.Popen(
            [sys.executable, *words], cwd=os.environ["STOPGAP_RUNBOOKS"], env=environment(stack), stdout=log, stderr=log
        ) as running,
    ):
        try:
            started(stack)  # the first run waits for its start
            yield
        finally:
            lifeline.end(running, patience=10)


def environment(stack: parts.Parts) -> dict[str, str]:
    return {**stack.env, **server.environment(stack.prefect), "STOPGAP_HOME": str(stack.folder)}


if __name__ == "__main__":
    main()
