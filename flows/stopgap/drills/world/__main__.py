"""`python -m stopgap.drills.world --home DIR`: the demo's sandbox as a process of its own.

Prints one line of JSON when it is ready: `{"url": ..., "shop": ..., "kubeconfig": ..., "pid": ...}`. A line of JSON on standard input,
`{"receiver": ..., "token": ...}`, lets it watch its shop and post alerts there. Ends when its standard input ends (so it never outlives its
parent), on SIGTERM or on ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from stopgap.drills.world import monitor
from stopgap.drills.world.world import World

if TYPE_CHECKING:
    from types import FrameType


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def main() -> None:
    """Serve until the parent goes away."""
    parser = argparse.ArgumentParser(
        prog="python -m stopgap.drills.world", description="Serve the sandbox: a small cluster and a shop on it."
    )
    parser.add_argument("--home", type=Path, required=True, help="the folder for the kubeconfigs")
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1; a free one by default")
    parser.add_argument("--empty", action="store_true", help="begin with an empty cluster instead of the demo's shop")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    with World(asked.home, port=asked.port) as world:
        if not asked.empty:
            world.seed_demo()
        ready = {"url": world.url, "shop": world.shop_url, "kubeconfig": str(world.kubeconfig), "pid": os.getpid()}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        for line in sys.stdin:
            told = json.loads(line)
            watching = monitor.Monitor(shop=world.shop_url, receiver=told["receiver"], token=told["token"])
            threading.Thread(target=watching.watch, name="monitor", daemon=True).start()


if __name__ == "__main__":
    main()
