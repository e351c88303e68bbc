"""`stopgap worker`: execute runs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING

import click

from stopgap import home
from stopgap.cli import examples
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from uuid import UUID

    from stopgap.engine.intake import Intake
    from stopgap.engine.sweep import Sweeper
    from stopgap.engine.worker import Options


class AlreadyRunningError(StopgapError):
    """A worker already runs on this home."""


EXAMPLES = examples.lines(
    ("PREFECT_API_URL=https://prefect.example.com/api stopgap worker --deploy", "for a Prefect server of yours"),
)


@click.command(epilog=EXAMPLES)
@click.option(
    "--floor",
    envvar="STOPGAP_WORKER_FLOOR",
    show_envvar=True,
    type=click.IntRange(1, 16),
    default=2,
    show_default=True,
    help="How many loaded processes wait for a run at all times.",
)
@click.option(
    "--at-once",
    envvar="STOPGAP_WORKER_AT_ONCE",
    show_envvar=True,
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="How many runs execute at once; the others wait.",
)
@click.option("--deploy", "deploys", is_flag=True, help="Also register the runbooks with Prefect, now and whenever they change.")
@click.option(
    "--patience",
    envvar="STOPGAP_WORKER_PATIENCE",
    show_envvar=True,
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="How many seconds runs may go on after ctrl-C.",
)
@click.option(
    "--grace",
    envvar="STOPGAP_WORKER_GRACE",
    show_envvar=True,
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="How many seconds the step under way may go on after its run was cancelled in Prefect; 0 for as long as it takes.",
)
@click.option(
    "--memory",
    envvar="STOPGAP_WORKER_MEMORY",
    show_envvar=True,
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="MB",
    help="How much memory a run's process may have; 0 for any amount.",
)
@click.option(
    "--lease",
    "length",
    envvar="STOPGAP_LEASE",
    show_envvar=True,
    default="10s",
    show_default=True,
    metavar="DURATION",
    help="How long a run stays with a process that is not heard of; others wait 30 s longer.",
)
@click.option("--prune", "prunes", is_flag=True, hidden=True)
@click.option("--ready", "ready", type=int, hidden=True, help="A file descriptor that is told when the worker is ready.")
def command(  # noqa: PLR0913  one for each option
    *, floor: int, at_once: int, deploys: bool, patience: float, grace: float, memory: int, length: str, prunes: bool, ready: int | None
) -> None:
    """Execute runs of every registered runbook until ctrl-C; `stopgap up` starts one by itself.

    A run that is not done by then goes on where it was when a worker runs again. Ctrl-C twice does not wait for it.
    """
    from stopgap.engine import lease, lifeline, lock, server

    os.environ[lease.LENGTH] = length  # for the processes that carry runs out
    lease.terms()
    if ready is not None:
        lifeline.hold()
    server.use_current()
    folder = home.data_folder()
    home.make(folder)
    if lock.take(folder / "worker.lock") is None:
        pid = lock.holder(folder / "worker.lock")
        raise AlreadyRunningError(f"A worker already runs on {folder} (process {pid}); raise its --at-once instead, or end it first.")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("stopgap").setLevel(logging.INFO)
    from stopgap.clock import SystemClock
    from stopgap.engine import api, intake, notifying, rules, sweep, worker
    from stopgap.timeline import open as timelines

    prefect = api.Api.of_environment()
    with timelines.timeline() as timeline:
        book = notifying.Policies(home.runbooks_folder())
        accepted = intake.Intake(timeline=timeline, clock=SystemClock(), rules=rules.Watched(home.runbooks_folder()))
        options = worker.Options(
            home=folder,
            runbooks=home.runbooks_folder(),
            floor=floor,
            cap=at_once,
            deploys=deploys,
            prunes=prunes,
            patience=patience,
            grace=grace,
            memory=memory,
            sweep=_everything(sweep.Sweeper(prefect, timeline, SystemClock(), book), accepted),
            give_back=timeline.leases.give_back,
            on_ready=_teller(ready),
        )
        with notifying.running(timeline, SystemClock(), book):
            asyncio.run(_until_told(options))


def _everything(sweeper: Sweeper, accepted: Intake) -> Callable[[Collection[UUID]], None]:
    """Look after the runs, and act on alerts that a receiver accepted and left behind."""

    def sweep(active: Collection[UUID]) -> None:
        accepted.sweep()
        sweeper(active)

    return sweep


def _teller(ready: int | None) -> Callable[[], None]:
    def tell() -> None:
        if ready is None:
            click.echo("The worker is ready.  ctrl-C ends it", err=True)
        else:
            os.write(ready, b"ready\n")
            os.close(ready)

    return tell


async def _until_told(options: Options) -> None:
    from stopgap.engine import worker

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await worker.run(options, stop)
