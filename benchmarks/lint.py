"""How long `stopgap --help` and `stopgap lint` take, beside check-jsonschema on the same files.

Run:  .venv/bin/python benchmarks/lint.py [--files 1000] [--times 5]
Medians of whole processes, started one after the other; processor time (user and system) moves less than the clock on a busy machine;
memory is the largest resident set.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
RUNBOOK = ROOT / "tests" / "cases" / "ok" / "checkout-latency.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        many = written(Path(folder), options.files)
        rows = [
            ("stopgap --help", 0.15, measured([BIN / "stopgap", "--help"], options.times)),
            ("stopgap lint, 1 file", 0.3, measured([BIN / "stopgap", "lint", many[0]], options.times)),
            (f"stopgap lint, {options.files:,} files", 3.0, measured([BIN / "stopgap", "lint", folder], options.times)),
            ("check-jsonschema, 1 file", None, measured([*yardstick(), many[0]], options.times)),
            (f"check-jsonschema, {options.files:,} files", None, measured([*yardstick(), *many], min(options.times, 3))),
        ]
    print("| what | median | slowest | processor | memory | goal |\n|---|---|---|---|---|---|")
    for what, goal, (seconds, slowest, processor, memory) in rows:
        print(f"| {what} | {seconds:.2f} s | {slowest:.2f} s | {processor:.2f} s | {memory:.0f} MB | {f'{goal} s' if goal else ''} |")


def yardstick() -> list[str | Path]:
    return [BIN / "check-jsonschema", "--schemafile", ROOT / "schemas" / "runbook.schema.json"]


def written(folder: Path, count: int) -> list[Path]:
    (folder / "policy.yaml").write_bytes((ROOT / "tests" / "cases" / "policy.yaml").read_bytes())
    text = RUNBOOK.read_text(encoding="utf-8")
    paths = [folder / f"runbook-{number}.yaml" for number in range(count)]
    for number, path in enumerate(paths):
        named = text.replace("name: checkout-latency", f"name: checkout-latency-{number}")
        path.write_text(named.replace("alertname: ", f"alertname: N{number}"), encoding="utf-8")  # two with one trigger are a mistake
    return paths


def measured(command: list[str | Path], times: int) -> tuple[float, float, float, float]:
    taken, worked, memory = [], [], 0.0
    for _ in range(times + 1):  # the first fills the caches
        start = time.perf_counter()
        pid = os.posix_spawn(command[0], [str(part) for part in command], os.environ, file_actions=QUIET)
        _, status, usage = os.wait4(pid, 0)
        taken.append(time.perf_counter() - start)
        worked.append(usage.ru_utime + usage.ru_stime)
        memory = max(memory, usage.ru_maxrss / 1024)
        if os.waitstatus_to_exitcode(status) != 0:
            sys.exit(f"{' '.join(str(part) for part in command[:3])} ended with {os.waitstatus_to_exitcode(status)}")
    return statistics.median(taken[1:]), max(taken[1:]), statistics.median(worked[1:]), memory


QUIET = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]

if __name__ == "__main__":
    main()
