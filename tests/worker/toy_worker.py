"""A worker of the tests: `python toy_worker.py HOME RUNBOOKS PATIENCE GRACE MEMORY`. Says `ready`, and what it logs, on standard output."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from stopgap.engine import worker


async def main(home: Path, runbooks: Path, patience: float, grace: float, memory: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options = worker.Options(
        home=home,
        runbooks=runbooks,
        floor=1,
        cap=4,
        patience=patience,
        grace=grace,
        memory=memory,
        on_ready=lambda: print("ready", flush=True),  # noqa: T201  for the test
    )
    await worker.run(options, stop)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.WARNING)
    logging.getLogger("stopgap").setLevel(logging.INFO)
    folder, books, patience, grace, memory = sys.argv[1:]
    asyncio.run(main(Path(folder), Path(books), float(patience), float(grace), int(memory)))
