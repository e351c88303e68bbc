"""A worker of the tests: `python toy_worker.py HOME RUNBOOKS PATIENCE`. Says `ready`, and what it logs, on standard output."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from stopgap.engine import worker


async def main(home: Path, runbooks: Path, patience: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options = worker.Options(
        home=home,
        runbooks=runbooks,
        floor=1,
        cap=4,
        patience=patience,
        on_ready=lambda: print("ready", flush=True),  # noqa: T201  for the test
    )
    await worker.run(options, stop)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.WARNING)
    logging.getLogger("stopgap").setLevel(logging.INFO)
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
