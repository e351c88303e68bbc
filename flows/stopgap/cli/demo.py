"""`stopgap demo`: a shop in trouble on the sandbox, and a runbook that mitigates it. Leaves nothing running and nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stopgap import home
from stopgap.approvals.model import Answer
from stopgap.cli import asking, deciding, examples, starting
from stopgap.incidents.model import Mode, RunEnd
from stopgap.plan import parameters
from stopgap.problems import Exit, StopgapError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.incidents.model import Run
    from stopgap.timeline.entry import Timeline

COMMANDER = "ada"
RUNBOOK = "checkout-latency"
PATIENCE = 120.0  # seconds for everything to start; about 20 on two cores
POLICY = """\
# The demo's policy: one incident commander, one cluster, and that is the sandbox.
apiVersion: stopgap/v1
kind: Policy
people:
  ada: {{name: Ada Amari}}
  dana: {{name: Dana Diaz}}
teams: {{payments-oncall: [ada, dana]}}
roles:
  incident-commander: {{holders: [ada]}}
  technical-lead: {{holders: [dana]}}
  engineering-manager: {{holders: [dana]}}
clusters:
  prod: {{kubeconfig: {kubeconfig}, context: sandbox}}
limits: {{namespaces: [shop], max_replicas: 30}}
approvals: {{require_code: false}}  # nobody needs an app on a telephone to see the demo
"""


class DemoError(StopgapError):
    """The demo could not start."""


EXAMPLES = examples.lines(
    ("stopgap demo", "asks you to approve, in the browser or a terminal"),
    ("stopgap demo --yes", "approves by itself, for CI"),
)


@click.command(epilog=EXAMPLES)
@click.option("--yes", is_flag=True, help="Approve by itself, as nobody would in production.")
def command(*, yes: bool) -> int:
    """Watch a runbook mitigate an incident: it scales a service, sees that this is not enough, asks before rolling back, and verifies.

    Everything is real but the cluster, which is the sandbox: PostgreSQL, the Prefect server and its UI, the worker, the timeline.
    All of it listens on this machine alone, lives in a folder of its own, and is gone when the demo ends.

    Exit codes: 0 mitigated, 1 not, 4 rejected or expired at the gate.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # told to end, it cleans up as after ctrl-C
    with home.temporary() as folder, contextlib.ExitStack() as stack:
        click.echo("Starting the sandbox, the database, the Prefect server and the worker ...")
        world = stack.enter_context(_world(folder))
        _prepare(folder, kubeconfig=world["kubeconfig"])
        stack.enter_context(_up(folder))
        return _mitigate(world["shop"], approves=yes)


def _mitigate(shop: str, *, approves: bool) -> int:
    runbook = asking.runbook(RUNBOOK)
    click.echo(f"\nThe checkout is slow: it answers {_answer_time(shop)}. Its runbook starts now.\n")
    values = parameters.check(runbook, {"url": shop, "patience": "6s"})
    with starting.asked_for(starting.Asked(runbook=runbook, parameters=values, mode=Mode.LIVE, person="dana")) as (timeline, run):
        click.echo(f"Watch it at  {starting.login_link(run)}")
        click.echo(f"Log in with  {os.environ['PREFECT_API_AUTH_STRING']}\n")
        ended = _follow(timeline, run, approves=approves)
        click.echo(f"\nThe checkout answers {_answer_time(shop)}.")
        entries = timeline.of_chain(run.incident)
        click.echo(f"{len(entries)} entries on the timeline of {run.incident}, each chained to the one before it.")
    return ended


def _follow(timeline: Timeline, run: Run, *, approves: bool) -> Exit:
    for entry in timeline.follow(run.incident):
        if entry.kind not in asking.QUIET:
            asking.show(entry, hints=False)
        if entry.kind == "gate.asked" and approves:
            deciding.answer(run.id, Answer.APPROVE, person=COMMANDER, reason="the demo approves by itself", sure=True, step=None)
        elif entry.kind == "gate.asked":
            click.echo(_how_to_approve(run))
        if entry.kind == "run.finished":
            return asking.EXITS[RunEnd(entry.data["end"])]
    return Exit.FAILED


def _how_to_approve(run: Run) -> str:
    variables = f"STOPGAP_HOME={os.environ['STOPGAP_HOME']} STOPGAP_RUNBOOKS={os.environ['STOPGAP_RUNBOOKS']}"
    return (
        f"\n  The run waits for the incident commander. You are {COMMANDER}. Open\n"
        f"      {starting.login_link(run)}\n"
        f"  log in with {os.environ['PREFECT_API_AUTH_STRING']}, press Resume, read the change, and decide. Or, in another terminal:\n"
        f"      {variables} {Path(sys.argv[0]).absolute()} approve {run.id} --as {COMMANDER}\n"
    )


def _answer_time(shop: str) -> str:
    import httpx

    began = time.monotonic()
    status = httpx.get(shop, timeout=30, trust_env=False).status_code
    return f"{status} after {time.monotonic() - began:.2f} s"


@contextlib.contextmanager
def _world(folder: Path) -> Iterator[dict[str, str]]:
    """Serve the sandbox from a child, which ends when its standard input does."""
    place = folder / "sandbox"
    place.mkdir()
    words = [sys.executable, "-m", "stopgap.drills.world", "--home", str(place)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:  # noqa: S603  our own program
        line = child.stdout.readline() if child.stdout else ""
        if not line:
            raise DemoError(f"The sandbox did not start; it ended with {child.wait()}.")
        try:
            yield json.loads(line)
        finally:
            if child.stdin:
                child.stdin.close()
            child.wait()


def _prepare(folder: Path, *, kubeconfig: str) -> None:
    """Lay out runbooks and a policy for the sandbox, and make this process and its children use them."""
    runbooks = folder / "runbooks"
    runbooks.mkdir()
    for path in sorted((home.examples_folder() / "checkout").glob("*.yaml")):
        shutil.copy(path, runbooks / path.name)
    (runbooks / "policy.yaml").write_text(POLICY.format(kubeconfig=kubeconfig))
    for name in [name for name in os.environ if name.startswith("PREFECT_") or name == "STOPGAP_DATABASE_URL"]:
        del os.environ[name]
    os.environ.update(STOPGAP_HOME=str(folder / "home"), STOPGAP_RUNBOOKS=str(runbooks))


@contextlib.contextmanager
def _up(folder: Path) -> Iterator[None]:
    """Run `stopgap up` as a child; ctrl-C reaches it through us alone, so that everything ends in order."""
    from stopgap.engine import server

    log = folder / "up.log"
    with log.open("w") as output:
        words = [sys.executable, "-m", "stopgap", "up", "--until-eof"]  # it ends with us even when we are killed
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True)  # noqa: S603  our own program
        try:
            give_up = time.monotonic() + PATIENCE
            while server.read_running(home.data_folder()) is None:
                if child.poll() is not None or time.monotonic() > give_up:
                    raise DemoError(f"stopgap up did not come up:\n{log.read_text()}")
                time.sleep(0.1)
            yield
        finally:
            if child.stdin:
                child.stdin.close()
            child.wait()
