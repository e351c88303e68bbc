"""200 runs created at once: how long until the last one is done, with one worker and with four.

    .venv/bin/python benchmarks/many.py
    .venv/bin/python benchmarks/many.py --runs 50

Each run is a `note`, so this measures starting and ending runs: Prefect's server, the workers, their forks, the timeline. Runs are handed to
Prefect by four threads, as `stopgap serve` does it. How long each part kept a processor busy is said for one run.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import parts

BOOK = """\
apiVersion: stopgap/v1
kind: Runbook
name: tell
title: Tell
description: For a benchmark.
owner: oncall
severity: SEV3
steps:
  - {id: tell, name: Tell people, uses: note, with: {text: hello}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how long many runs take that are created at once.")
    parser.add_argument("--runs", type=int, default=200)
    asked = parser.parse_args()
    print("| workers | handed over within | last done after | runs a second | busy a run |", "|---|---|---|---|---|", sep="\n")
    for count in (1, 4):
        with parts.stack(0, books={"tell": BOOK}) as stack:
            for _ in range(count):
                stack.add_worker()
            print(measured(stack, count, asked.runs))


def measured(stack: parts.Parts, workers: int, count: int) -> str:
    runs = [stack.request("tell", {}) for _ in range(count)]
    before, began = busy(stack), datetime.now(UTC)
    with ThreadPoolExecutor(4) as hands:
        list(hands.map(stack.schedule, runs))
    created = (datetime.now(UTC) - began).total_seconds()
    wanted = {run.id for run in runs}
    while wanted - {entry.run for entry in stack.timeline.of_kind("run.finished", since=began)}:
        time.sleep(0.2)
    last = max(entry.at for entry in stack.timeline.of_kind("run.finished", since=began))
    took = (last - began).total_seconds()
    parted = ", ".join(f"{part} {1000 * (seconds - before[part]) / count:.0f} ms" for part, seconds in busy(stack).items())
    return f"| {workers} | {created:.1f} s | {took:.1f} s | {count / took:.1f} | {parted} |"


def busy(stack: parts.Parts) -> dict[str, float]:
    """Return how many seconds each part has kept a processor busy so far."""
    return {
        "Prefect's server": parts.busy(stack.prefect.pid),
        "PostgreSQL": parts.busy(stack.postmaster),
        "workers and their processes": sum(parts.busy(worker.pid) for worker in stack.workers),
        "who asks": time.process_time(),
    }


if __name__ == "__main__":
    main()
