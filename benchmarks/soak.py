"""Half an hour in which everything is killed again and again, and what became of the runs.

    .venv/bin/python benchmarks/soak.py                      500 runs in 30 minutes
    .venv/bin/python benchmarks/soak.py --minutes 3 --runs 50
    .venv/bin/python benchmarks/soak.py --write              and puts the figures into docs/reliability.md

One PostgreSQL, one Prefect server, two workers with eight processes each, and the sandbox. Runs scale and restart Deployments; every third asks first, and a
scripted incident commander approves. Meanwhile a process of a run is killed about every 4 s, a worker every 15 s, and Prefect's server and PostgreSQL once a
minute each; all with SIGKILL. In the end each run must have ended as done, with exactly one effect counted at the sandbox, by the mark that
the effect carries; the timeline must verify; and Prefect must not believe that any run still goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

import parts
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer, Question
from stopgap.incidents import fold
from stopgap.incidents.model import Run, RunEnd
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DEPLOYMENTS = 30
EVERY = {"child": 4.0, "worker": 15.0, "server": 60.0, "postgres": 60.0}  # seconds between two kills, on average
PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- the soak begins -->", "<!-- the soak ends -->"
HEAD = """\
apiVersion: stopgap/v1
kind: Runbook
name: {name}
title: {name}
description: One run of a soak.
owner: oncall
severity: SEV3
defaults: {{cluster: sandbox, namespace: shop}}
parameters: {{deployment: {{type: string}}, replicas: {{type: integer}}}}
steps:
  - id: act
    name: Act
    uses: kubernetes.{action}
    with: {{deployment: "${{{{ params.deployment }}}}"{more}}}
    timeout: 5m
    {gate}
  - {{id: tell, name: Tell people, uses: note, with: {{text: "act was ${{{{ steps.act.status }}}}"}}}}
"""
BOOKS = {
    name: HEAD.format(name=name, action=action, more=more, gate=gate)
    for action, more in (("scale", ', replicas: "${{ params.replicas }}"'), ("restart", ""))
    for name, gate in ((action, ""), (f"{action}-asks", "approval: {by: [incident-commander]}"))
}


@dataclass(slots=True)
class Soak:
    """The runs, each on a Deployment of its own for as long as it lasts."""

    parts: parts.Parts
    free: list[str]
    replicas: dict[str, int]
    open: dict[str, str] = field(default_factory=dict)  # run -> its Deployment
    runs: list[str] = field(default_factory=list)
    began: dict[str, float] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """Ask for a run and hand it to Prefect; when Prefect is away just now, a worker does it later."""
        if not self.free:
            return
        deployment, number = random.choice(self.free), len(self.runs)
        action = "restart" if number % 2 else "scale"
        after = 3 - self.replicas[deployment]
        try:
            run = self.parts.request(f"{action}-asks" if number % 3 == 0 else action, {"deployment": deployment, "replicas": after})
        except StopgapError:
            return  # the database is away just now
        with contextlib.suppress(StopgapError):
            self.parts.schedule(run)
        self.replicas[deployment] = after if action == "scale" else self.replicas[deployment]
        self.free.remove(deployment)
        self.runs.append(run.id)
        self.open[run.id] = deployment
        self.began[run.id] = time.monotonic()

    def look(self) -> None:
        """Answer what is asked, and note what has ended."""
        for name in tuple(self.open):
            with contextlib.suppress(StopgapError):
                run = fold.find_run(self.parts.timeline, name)
                if run.end is not None:
                    self.free.append(self.open.pop(name))
                    self.took.append(time.monotonic() - self.began[name])
                elif gate := gates.waiting(self.parts.timeline.of_run(name)):
                    self.parts.decide(run, gate, Answer.APPROVE if gate.question is Question.APPROVE else Answer.STOP)


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill everything again and again while runs go on, and count what became of them.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=None, help="of the random kills")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/reliability.md")
    asked = parser.parse_args()
    random.seed(asked.seed)
    with everything() as (soak, effects):
        late = went_on(soak, minutes=asked.minutes, runs=asked.runs)
        settled = wait_for_the_rest(soak)
        table = report(soak, effects(), late=late, settled=settled, minutes=asked.minutes)
    print(table)
    if asked.write:
        write(table)
    sys.exit(0 if "**" not in table else 1)


def went_on(soak: Soak, *, minutes: float, runs: int) -> int:
    """Kill for so many minutes, and then begin what is missing of the runs; return how many those were."""
    began = time.monotonic()
    due = {part: began + 10 + random.expovariate(1 / every) for part, every in EVERY.items()}
    while (now := time.monotonic()) < began + minutes * 60:
        if len(soak.runs) < runs * (now - began) / (minutes * 60):
            soak.begin()
        for part, moment in due.items():
            if now >= moment:
                soak.parts.kill(part)
                due[part] = time.monotonic() + random.expovariate(1 / EVERY[part])
        soak.look()
        if sys.stderr.isatty():
            print(
                f"\r{now - began:5.0f} s  {len(soak.runs)} runs, {len(soak.open)} open, killed {dict(soak.parts.kills)} ",
                end="",
                file=sys.stderr,
            )
        time.sleep(0.2)
    late = runs - len(soak.runs)
    while len(soak.runs) < runs:
        soak.begin()
        soak.look()
        time.sleep(0.2)
    return late


def wait_for_the_rest(soak: Soak, patience: float = 600) -> float:
    began = time.monotonic()
    while soak.open and time.monotonic() < began + patience:
        soak.look()
        time.sleep(0.5)
    return time.monotonic() - began


def report(soak: Soak, effects: Counter[str], *, late: int, settled: float, minutes: float) -> str:
    found = [fold.find_run(soak.parts.timeline, name) for name in soak.runs]
    ends = Counter(str(run.end) for run in found)
    lost = [run.id for run in found if run.end is not RunEnd.DONE or effects[run.id] < 1]
    twice = [run.id for run in found if effects[run.id] > 1]
    deadline = time.monotonic() + 90
    while (left := [said for run in found if (said := goes_on(soak, run))]) and time.monotonic() < deadline:
        time.sleep(1)
    verdict = soak.parts.timeline.verify()
    took = sorted(soak.took)
    rows = [
        (
            "runs",
            f"{len(found)}, {late} of them begun after {minutes:g} minutes of kills; ended {dict(ends)}, the last {settled:.0f} s after the last was begun",
        ),
        ("killed", ", ".join(f"{part} {soak.parts.kills[part]} times" for part in EVERY)),
        ("effects lost", marked(len(lost), lost)),
        ("effects twice", marked(len(twice), twice)),
        ("runs that Prefect believes to go on", marked(len(left), left)),
        ("timeline", f"{verdict.entries} entries, {'unbroken' if not verdict.damages else f'**{verdict.damages}**'}"),
        (
            "from asked to done",
            f"median {took[len(took) // 2]:.1f} s, p95 {took[int(len(took) * 0.95)]:.1f} s, longest {took[-1]:.1f} s"
            if took
            else "**none**",
        ),
    ]
    return "\n".join(["| what | figure |", "|---|---|", *(f"| {name} | {figure} |" for name, figure in rows)])


def marked(count: int, names: Sequence[str]) -> str:
    return f"**{count}: {', '.join(names[:10])}**" if count else "0"


def goes_on(soak: Soak, run: Run) -> str:
    """Say what Prefect says of a run that has ended on the timeline and not there; empty when it has ended there too."""
    try:
        flow_run = soak.parts.api.flow_run(run.flow_run)
    except StopgapError as error:
        return f"{run.id} ({error})"
    return "" if flow_run.has_ended else f"{run.id} ({flow_run.state_name}: {flow_run.message})"


@contextlib.contextmanager
def everything() -> Iterator[tuple[Soak, Callable[[], Counter[str]]]]:
    with parts.stack(DEPLOYMENTS, books=BOOKS) as found:
        for _ in range(2):
            found.add_worker()
        names = [f"app-{number}" for number in range(DEPLOYMENTS)]
        yield Soak(found, list(names), dict.fromkeys(names, 1)), functools.partial(effects_at, found.sandbox)


def effects_at(url: str) -> Counter[str]:
    """Return how often each run changed something, by the mark that every effect carries: `INC-12.1/act/1`."""
    found = httpx.get(f"{url}/world/effects", trust_env=False, timeout=60).json()["effects"]
    marks = [re.search(r'"stopgap\.dev/mark": "([^/"]+)/', json.dumps(each["body"])) for each in found]
    return Counter(mark[1] for mark in marks if mark)


def write(table: str) -> None:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}" if rest else f"{text}\n{BEGIN}\n\n{table}\n\n{END}\n")


if __name__ == "__main__":
    main()
