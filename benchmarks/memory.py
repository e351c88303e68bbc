"""How much memory Prefect's server, stopgap's worker, its fork server and its children take.

    .venv/bin/python benchmarks/memory.py

PSS counts each page that several processes share in equal parts: the sum of PSS is what the machine really gives.
"""

from __future__ import annotations

import time
from pathlib import Path

import parts

BOOK = """\
apiVersion: stopgap/v1
kind: Runbook
name: waits
title: Waits
description: For a benchmark.
owner: oncall
severity: SEV3
steps:
  - {id: wait, name: Wait, uses: wait, with: {for: 20s}}
"""


def main() -> None:
    with parts.stack(0, books={"waits": BOOK}) as stack:
        stack.add_worker()
        (worker,) = stack.workers
        (forks,) = [pid for pid in parts.children(worker.pid) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        time.sleep(2)
        rows = [
            ("Prefect's server", [stack.prefect.pid]),
            ("worker", [worker.pid]),
            ("fork server", [forks]),
            ("idle children", parts.children(forks)),
        ]
        print("| process | count | RSS each | PSS each | PSS |", "|---|---|---|---|---|", sep="\n")
        for name, pids in rows:
            print(row(name, pids))
        for _ in range(4):
            stack.schedule(stack.request("waits", {}))
        time.sleep(8)
        print(row("children that execute a run", [pid for pid in parts.children(forks) if parts.threads(pid) > 1]))


def row(name: str, pids: list[int]) -> str:
    rss, pss = ([figure(pid, what) for pid in pids] for what in ("Rss", "Pss"))
    return f"| {name} | {len(pids)} | {sum(rss) / max(1, len(pids)):.0f} MB | {sum(pss) / max(1, len(pids)):.0f} MB | {sum(pss):.0f} MB |"


def figure(pid: int, what: str) -> float:
    """Return a figure of smaps_rollup in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{what}:")).split()[1]) / 1024


if __name__ == "__main__":
    main()
