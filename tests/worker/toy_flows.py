"""Flows for the worker's tests: quick, slow, crashing. What they did is a line in the file that STOPGAP_TOY_LOG names."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run


def say(text: str) -> None:
    with Path(os.environ["STOPGAP_TOY_LOG"]).open("a") as log:
        log.write(f"{flow_run.id} {text}\n")


@flow(name="toy-quick")
async def quick() -> None:
    say(f"quick {flow_run.run_count} {os.getpid()}")


@flow(name="toy-patient")
async def patient() -> None:
    """Ends when a file named by the run lies beside the log."""
    say(f"patient {flow_run.run_count} {os.getpid()}")
    go = Path(os.environ["STOPGAP_TOY_LOG"]).with_name(str(flow_run.id))
    while not go.exists():  # noqa: ASYNC110  a file is what another process can make
        await asyncio.sleep(0.05)
    say("patient done")


@flow(name="toy-dies-once")
async def dies_once() -> None:
    say(f"dies-once {flow_run.run_count}")
    if flow_run.run_count == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@flow(name="toy-dies-always")
async def dies_always() -> None:
    say(f"dies-always {flow_run.run_count}")
    os.kill(os.getpid(), signal.SIGKILL)


@flow(name="toy-fails")
async def fails() -> None:
    raise RuntimeError("as it must")
