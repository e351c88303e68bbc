"""`stopgap demo`: a shop in trouble on the sandbox, and a runbook that mitigates it. Leaves nothing running and nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stopgap import home
from stopgap.approvals.model import Answer
from stopgap.cli import asking, deciding, examples, starting
from stopgap.incidents import fold
from stopgap.incidents.model import RunEnd
from stopgap.problems import Exit, StopgapError
from stopgap.timeline import open as timelines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.incidents.model import Run
    from stopgap.timeline.entry import Timeline

COMMANDER = "ada"
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
alerts:
  sources:
    alertmanager: {{secret: {{file: alerts.token}}, severities: {{critical: SEV2}}}}
"""
HERE = {
    "http://checkout.shop.svc.cluster.local/": "{shop}",
    "default: 2m,": "default: 6s,",
}  # what the demo's copy of the runbook has otherwise


class DemoError(StopgapError):
    """The demo could not start."""


EXAMPLES = examples.lines(
    ("stopgap demo", "asks you to approve, in the browser or a terminal"),
    ("stopgap demo --yes", "approves by itself, for CI"),
)


@click.command(epilog=EXAMPLES)
@click.option("--yes", is_flag=True, help="Approve by itself, as nobody would in production.")
def command(*, yes: bool) -> int:
    """Watch an alert start a runbook that mitigates an incident: it scales a service, sees that this is not enough, asks before rolling back, and verifies.

    Everything is real but the cluster, which is the sandbox: PostgreSQL, the Prefect server and its UI, the worker, the timeline.
    All of it listens on this machine alone, lives in a folder of its own, and is gone when the demo ends.

    Exit codes: 0 mitigated, 1 not, 4 rejected or expired at the gate.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # told to end, it cleans up as after ctrl-C
    with home.temporary() as folder, contextlib.ExitStack() as stack:
        click.echo("Starting the sandbox, the database, the Prefect server and the worker ...")
        world = stack.enter_context(_world(folder))
        token = _prepare(folder, kubeconfig=world.kubeconfig, shop=world.shop)
        running = stack.enter_context(_up(folder))
        click.echo(
            f"\nThe checkout is slow: it answers {_answer_time(world.shop)}. Its monitoring posts an alert to {running['alerts_url']}alertmanager.\n"
        )
        world.watch(f"{running['alerts_url']}alertmanager", token)
        return _mitigate(world.shop, approves=yes)


def _mitigate(shop: str, *, approves: bool) -> int:
    from stopgap.engine import server

    server.use_current()
    with timelines.timeline() as timeline:
        run = _begun(timeline)
        click.echo(f"Watch it at  {starting.login_link(run)}")
        click.echo(f"Log in with  {os.environ['PREFECT_API_AUTH_STRING']}\n")
        ended = _follow(timeline, run, approves=approves)
        click.echo(f"\nThe checkout answers {_answer_time(shop)}.")
        entries = timeline.of_chain(run.incident)
        click.echo(f"{len(entries)} entries on the timeline of {run.incident}, each chained to the one before it.")
    return ended


def _begun(timeline: Timeline) -> Run:
    """Wait for the run that the alert starts; DemoError when none comes."""
    give_up = time.monotonic() + PATIENCE
    while not (found := timeline.of_kind("run.scheduled")):
        if time.monotonic() > give_up:
            raise DemoError(f"The alert started no run. Logs:  {home.data_folder() / 'log'}")
        time.sleep(0.05)
    return fold.find_run(timeline, found[0].run)


def _follow(timeline: Timeline, run: Run, *, approves: bool) -> Exit:
    """Show what happens, until the run has ended and, when it ended well, the alert is over."""
    ended, is_over = None, False
    for entry in timeline.follow(run.incident):
        if entry.kind not in asking.QUIET:
            asking.show(entry, hints=False)
        if entry.kind == "gate.asked" and approves:
            deciding.answer(run.id, Answer.APPROVE, person=COMMANDER, reason="the demo approves by itself", sure=True, step=None)
        elif entry.kind == "gate.asked":
            click.echo(_how_to_approve(run))
        if entry.kind == "run.finished":
            ended = asking.EXITS[RunEnd(entry.data["end"])]
        is_over = is_over or entry.kind == "incident.mitigated"
        if ended is not None and (is_over or ended is not Exit.DONE):
            return ended
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The sandbox's process, and what it said about itself."""

    process: subprocess.Popen[str]
    shop: str
    kubeconfig: str

    def watch(self, receiver: str, token: str) -> None:
        """Let it watch its shop and post alerts to a receiver."""
        if self.process.stdin:
            self.process.stdin.write(json.dumps({"receiver": receiver, "token": token}) + "\n")
            self.process.stdin.flush()


@contextlib.contextmanager
def _world(folder: Path) -> Iterator[Sandbox]:
    """Serve the sandbox from a child, which ends when its standard input does."""
    place = folder / "sandbox"
    place.mkdir()
    words = [sys.executable, "-m", "stopgap.drills.world", "--home", str(place)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:  # noqa: S603  our own program
        line = child.stdout.readline() if child.stdout else ""
        if not line:
            raise DemoError(f"The sandbox did not start; it ended with {child.wait()}.")
        said = json.loads(line)
        try:
            yield Sandbox(process=child, shop=said["shop"], kubeconfig=said["kubeconfig"])
        finally:
            if child.stdin:
                child.stdin.close()
            child.wait()


def _prepare(folder: Path, *, kubeconfig: str, shop: str) -> str:
    """Lay out runbooks and a policy for the sandbox, and make this process and its children use them; return what proves who posts alerts."""
    runbooks = folder / "runbooks"
    runbooks.mkdir()
    for path in sorted((home.examples_folder() / "checkout").glob("*.yaml")):
        shutil.copy(path, runbooks / path.name)
    (runbooks / "policy.yaml").write_text(POLICY.format(kubeconfig=kubeconfig))
    _move_here(runbooks / "latency.yaml", shop)
    token = secrets.token_urlsafe(18)
    (runbooks / "alerts.token").write_text(token)
    for name in [name for name in os.environ if name.startswith("PREFECT_") or name == "STOPGAP_DATABASE_URL"]:
        del os.environ[name]
    os.environ.update(STOPGAP_HOME=str(folder / "home"), STOPGAP_RUNBOOKS=str(runbooks))
    return token


def _move_here(runbook: Path, shop: str) -> None:
    """Let the runbook look at the sandbox's shop, and not wait for minutes, when its trigger gives no parameters."""
    text = runbook.read_text()
    for old, new in HERE.items():
        text = text.replace(old, new.format(shop=shop))
    runbook.write_text(text)


@contextlib.contextmanager
def _up(folder: Path) -> Iterator[dict[str, Any]]:
    """Run `stopgap up` as a child; ctrl-C reaches it through us alone, so that everything ends in order. Yields what it wrote about itself."""
    from stopgap.engine import server

    log = folder / "up.log"
    with log.open("w") as output:
        words = [sys.executable, "-m", "stopgap", "up", "--until-eof"]  # it ends with us even when we are killed
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True)  # noqa: S603  our own program
        try:
            give_up = time.monotonic() + PATIENCE
            while (running := server.read_running(home.data_folder())) is None:
                if child.poll() is not None or time.monotonic() > give_up:
                    raise DemoError(f"stopgap up did not come up:\n{log.read_text()}")
                time.sleep(0.1)
            yield running
        finally:
            if child.stdin:
                child.stdin.close()
            child.wait()
