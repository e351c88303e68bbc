"""How long it takes from an accepted alert to the first step of its runbook, and where that time goes.

    .venv/bin/python benchmarks/answering.py                 50 alerts, then 10 runs by Prefect's process worker with its defaults, on the same server
    .venv/bin/python benchmarks/answering.py --count 20 --others 0

Each alert is a new episode of a thing of its own, one after the other, by `stopgap serve` and a warm worker. The moments are those of the timeline's
entries; "accepted" is the entry that is durable before the sender is answered 202.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

import alerts
import parts
import starting
from stopgap.engine import server

if TYPE_CHECKING:
    from collections.abc import Mapping

ALERTS = """\
alerts:
  sources: {alertmanager: {open: true}}
  storm: {incidents: 100000, window: 5m}
"""
TRIGGER = "triggers: [{source: alertmanager, match: {alertname: Slow}}]\nsteps:\n"
STAGES = ("alert.received", "alert.opened", "run.requested", "run.scheduled", "run.started", "step.started")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how soon an alert's first step starts.")
    parser.add_argument("--count", type=int, default=50, help="alerts")
    parser.add_argument("--others", type=int, default=10, help="runs by Prefect's process worker")
    asked = parser.parse_args()
    books = {"plain": starting.BOOKS["plain"].replace("steps:\n", TRIGGER)}
    with parts.stack(0, books=books) as stack, ExitStack() as opened:
        with Path(os.environ["STOPGAP_RUNBOOKS"], "policy.yaml").open("a") as policy:
            policy.write(ALERTS)
        os.environ.update(server.environment(stack.prefect))
        stack.add_worker()
        _process, port = opened.enter_context(alerts.receiver())
        found = [told(stack, f"http://127.0.0.1:{port}/alerts/alertmanager", number) for number in range(asked.count + 1)][1:]
        stack.end_workers()
        starting.begin()
        for one, other in itertools.pairwise(STAGES):
            starting.say(f"{one} -> {other}", [each[other] - each[one] for each in found])
        starting.say("alert accepted -> first step started", [each["step.started"] - each["alert.received"] for each in found])
        if asked.others:
            with starting.process_worker(stack):
                starting.say("created -> first step, Prefect's process worker", [starting.started(stack) for _ in range(asked.others)])


def told(stack: parts.Parts, url: str, number: int) -> Mapping[str, float]:
    """Post one alert and wait for its run's end; return when each of the stages was reached, in seconds."""
    answer = httpx.post(url, content=alerts.body(number, kind="answering"), trust_env=False)
    assert answer.status_code == 202, answer.text
    run = starting.until(lambda: next((each for each in requested(stack) if each.data["key"].endswith(f"answering{number:08}/1")), None))
    starting.until(lambda: any(entry.kind == "run.finished" for entry in stack.timeline.of_run(run.run)))
    entries = [*stack.timeline.of_chain(run.chain), *accepted(stack, number)]
    moments = {entry.kind: entry.at.timestamp() for entry in reversed(entries) if entry.kind in STAGES}
    time.sleep(0.3)  # the process that was forked in its place is loaded meanwhile, as between two incidents
    return moments


def requested(stack: parts.Parts) -> list[Any]:
    return list(stack.timeline.of_kind("run.requested"))


def accepted(stack: parts.Parts, number: int) -> list[Any]:
    return [each for each in stack.timeline.of_kind("alert.received") if f"answering {number} is" in each.text]


if __name__ == "__main__":
    main()
