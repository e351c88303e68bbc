"""How fast alerts are answered, and whether every episode starts one run when receivers die.

    python benchmarks/alerts.py [rate | crash | storm]

`rate` posts 1,000 deliveries a second for ten seconds to one `stopgap serve`. `crash` posts 10,000 deliveries of 100 episodes in a minute,
shuffled and repeated, through two receivers, kills one with SIGKILL on the way and starts it again; the storm brake is raised. `storm` does
the same with the brake as it is by default. The loader runs on the same machine and takes its share.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from stopgap import home
from stopgap.timeline import open as opening
from stopgap.timeline import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.timeline.store import PostgresTimeline

RATE, SECONDS, LINKS = 1_000, 10, 48
EPISODES, DELIVERIES = 100, 10_000
POLICY = """\
apiVersion: stopgap/v1
kind: Policy
people: {ada: {name: Ada Amari}}
teams: {oncall: [ada]}
roles: {incident-commander: {holders: [ada]}}
alerts:
  sources: {alertmanager: {open: true}}
"""
RAISED = "  storm: {incidents: 100000, window: 5m}\n"
RUNBOOK = """\
apiVersion: stopgap/v1
kind: Runbook
name: tell
title: Tell people
description: Leaves a note.
owner: oncall
severity: SEV3
triggers: [{source: alertmanager, match: {alertname: Slow}}]
steps: [{id: tell, name: Tell people, uses: note, with: {text: hello}}]
"""


def main() -> None:
    for name in sys.argv[1:] or ["rate", "crash", "storm"]:
        with home.temporary() as folder, tempfile.TemporaryDirectory() as rules, postgres.start(folder):
            Path(rules, "policy.yaml").write_text(POLICY + ("" if name == "storm" else RAISED))
            Path(rules, "tell.yaml").write_text(RUNBOOK)
            os.environ.update(STOPGAP_HOME=str(folder), STOPGAP_RUNBOOKS=rules)
            {"rate": rate, "crash": crash, "storm": storm}[name]()


def rate() -> None:
    bodies = [body(number % EPISODES) for number in range(RATE * SECONDS)]
    with receiver() as (process, port):
        before = memory(process.pid)
        began = time.perf_counter()
        taken, refused = asyncio.run(load([port], bodies, rate=RATE))
        seconds = time.perf_counter() - began
        after = memory(process.pid)
    taken.sort()
    print(f"{len(taken):,} accepted in {seconds:.1f} s ({len(taken) / seconds:,.0f} a second), {refused} refused")
    print(f"answered after: median {taken[len(taken) // 2] * 1000:.1f} ms, p99 {taken[len(taken) * 99 // 100] * 1000:.1f} ms")
    print(f"memory of the receiver: {before} MB before, {after} MB after")


def crash() -> None:
    with flooded() as timeline:
        runs = timeline.of_kind("run.requested")
        print(f"{len(runs)} runs of {len({entry.data['key'] for entry in runs})} episodes")


def storm() -> None:
    with flooded() as timeline:
        (began,) = timeline.of_kind("storm.began")
        listed = [entry for entry in timeline.of_chain(began.chain) if entry.kind == "alert.opened"]
        opened = timeline.of_kind("alert.opened")
        print(f"{len(timeline.of_kind('run.requested'))} runs, then {began.incident}: {began.text.splitlines()[0]}")
        print(
            f"it lists {len({entry.data['alert'] for entry in listed})} episodes, all incidents {len({entry.data['alert'] for entry in opened})}"
        )


@contextlib.contextmanager
def flooded() -> Iterator[PostgresTimeline]:
    """Post everything, kill a receiver meanwhile, and wait until all of it is acted on; yields the timeline."""
    bodies = [body(number % EPISODES, kind="crash") for number in range(DELIVERIES)]
    random.Random(7).shuffle(bodies)
    with contextlib.ExitStack() as stack:
        victim, first = stack.enter_context(receiver())
        other, second = stack.enter_context(receiver())
        before = memory(other.pid)
        asyncio.run(_crash(victim, stack, [first, second], bodies))
        timeline = stack.enter_context(opening.timeline())
        deadline = time.monotonic() + 120
        while left := timeline.intake.behind(by=timedelta(0), now=datetime.now(UTC) + timedelta(hours=1)):
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        time.sleep(8)  # a second run of any episode would have come by now
        counted = sum(episode.deliveries for name in timeline.chains() for episode in timeline.intake.episodes_of(name))
        print(
            f"{DELIVERIES:,} deliveries of {EPISODES} episodes, one receiver killed; {len(left)} chains not acted on; {counted:,} counted"
        )
        print(f"memory of the receiver that lived: {before} MB before, {memory(other.pid)} MB after")
        assert timeline.verify().damages == ()
        yield timeline


async def _crash(victim: subprocess.Popen[bytes], stack: contextlib.ExitStack, ports: list[int], bodies: list[bytes]) -> None:
    loading = asyncio.create_task(load(ports, bodies, rate=170))
    await asyncio.sleep(5)
    victim.send_signal(signal.SIGKILL)
    await asyncio.to_thread(victim.wait)
    _again, port = await asyncio.to_thread(stack.enter_context, receiver(ports[0]))
    assert port == ports[0]
    taken, refused = await loading
    print(f"{len(taken):,} accepted, {refused} refused or sent again")


def body(number: int, *, kind: str = "rate") -> bytes:
    alert = {
        "status": "firing", "labels": {"alertname": "Slow", "service": f"{kind}{number}", "severity": "critical", "cluster": "prod"},
        "annotations": {"summary": f"{kind} {number} is slow", "description": "x" * 300}, "startsAt": "2026-11-22T01:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prometheus:9090/graph", "fingerprint": f"{kind}{number:08}",
    }  # fmt: skip
    return json.dumps({"version": "4", "status": "firing", "truncatedAlerts": 0, "groupKey": "{}", "alerts": [alert]}).encode()


async def load(ports: list[int], bodies: list[bytes], *, rate: int) -> tuple[list[float], int]:
    """Post each body at its moment; one that is not accepted is sent again, as senders do. Returns the times of the accepted."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    taken: list[float] = []
    failed = 0

    async def link(port: int) -> None:
        nonlocal failed
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while True:
            due, content = await waiting.get()
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                head = f"POST /alerts/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
                writer.write(head.encode() + content)
                answer = await reader.readuntil(b"\r\n\r\n")
                length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                if not answer.startswith(b"HTTP/1.1 202"):
                    raise ConnectionError(answer)
                taken.append(time.perf_counter() - due)
            except (OSError, asyncio.IncompleteReadError):
                failed += 1
                reader = writer = None
                waiting.put_nowait((time.perf_counter(), content))
                await asyncio.sleep(0.2)
            waiting.task_done()

    links = [asyncio.create_task(link(ports[number % len(ports)])) for number in range(LINKS)]
    began = time.perf_counter()
    for number, content in enumerate(bodies):
        due = began + number / rate
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        waiting.put_nowait((due, content))
    await waiting.join()
    for each in links:
        each.cancel()
    return taken, failed


@contextlib.contextmanager
def receiver(port: int = 0) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    from stopgap.web import server

    with server.listen("127.0.0.1", port) as listening:
        port = listening.getsockname()[1]
        ready, told = os.pipe()
        command = [sys.executable, "-m", "stopgap", "serve", "--fd", str(listening.fileno()), "--ready", str(told)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listening.fileno(), told])
    os.close(told)
    os.read(ready, 10)
    os.close(ready)
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait(30)


def memory(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 2**20


if __name__ == "__main__":
    main()
