"""What the engine itself takes for a step, all durable entries included, beside a bare async task of Prefect in the same run.

    .venv/bin/python benchmarks/steps.py           five runs of 10 steps and of 10 tasks, in turn
    .venv/bin/python benchmarks/steps.py --profile   where the engine's time goes, by function

A step is a `note`: its action does nothing, so what is measured is planning, four entries, the task run and the table of the timeline.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import statistics
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import parts
from stopgap.engine import server

if TYPE_CHECKING:
    from stopgap.incidents.model import Run

HEAD = """\
apiVersion: stopgap/v1
kind: Runbook
name: steps
title: Steps
description: For a benchmark.
owner: oncall
severity: SEV3
steps:
"""
STEP = "  - {{id: s{number}, name: Step {number}, uses: note, with: {{text: hello}}}}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the engine takes for a step.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    book = HEAD + "".join(STEP.format(number=number) for number in range(asked.steps))
    with parts.stack(0, books={"steps": book}) as stack:
        os.environ.update(server.environment(stack.prefect), PREFECT_LOGGING_LEVEL="WARNING")
        from prefect.client.orchestration import get_client

        from stopgap.engine import deploy, flows

        deploy.deploy(stack.books)
        flow = flows.compile_flow(stack.books["steps"])
        engine: list[float] = []
        bare: list[float] = []
        with get_client(sync_client=True) as client:
            for _ in range(asked.runs + 1):  # the first of each loads what is loaded lazily
                engine.append(timed(stack, client, flow, asked.steps, is_profiled=asked.profile and len(engine) == asked.runs))
                bare.append(bare_tasks(asked.steps))
        print("| what | median | best |", "|---|---|---|", sep="\n")
        for name, found in (("a step of the engine", engine[1:]), ("a bare async task of Prefect", bare[1:])):
            print(f"| {name} | {statistics.median(found) * 1000:.1f} ms | {min(found) * 1000:.1f} ms |")


def timed(stack: parts.Parts, client: Any, flow: Any, steps: int, *, is_profiled: bool) -> float:
    """Carry a run out in this process and return the seconds a step, from the first one's plan to the last one's end."""
    from prefect.flow_engine import run_flow
    from prefect.states import Pending

    run = stack.request("steps", {})
    flow_run = UUID(stack.schedule(run))
    client.set_flow_run_state(flow_run, Pending())
    profile = cProfile.Profile()
    if is_profiled:
        asyncio.to_thread = at_once  # type: ignore[assignment]
        profile.enable()
    running: Any = run_flow(flow, flow_run=client.read_flow_run(flow_run), return_type="state")
    asyncio.run(running)
    if is_profiled:
        profile.disable()
        pstats.Stats(profile).sort_stats("cumtime").print_stats(70)
    return between(stack, run) / steps


async def at_once(function: Any, *given: Any, **named: Any) -> Any:
    """Instead of a thread, which the profiler does not see."""
    return function(*given, **named)


def between(stack: parts.Parts, run: Run) -> float:
    entries = stack.timeline.of_run(run.id)
    began = next(entry.at for entry in entries if entry.kind == "run.started")
    return float((entries[-1].at - began).total_seconds())


def bare_tasks(count: int) -> float:
    """Return the seconds a task, in an async flow that does nothing else."""
    from prefect import flow, task

    took = []

    @task
    async def nothing() -> None:
        pass

    @flow
    async def bare() -> None:
        began = time.perf_counter()
        for _ in range(count):
            await nothing()
        took.append(time.perf_counter() - began)

    asyncio.run(bare())
    return took[0] / count


if __name__ == "__main__":
    main()
