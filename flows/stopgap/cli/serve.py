"""`stopgap serve`: take in alerts, and show the incidents."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

import click

from stopgap import home
from stopgap.cli import examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopgap.engine.api import Api

EXAMPLES = examples.lines(
    ("stopgap serve", "on this machine alone, port 4210"),
    ("stopgap serve --host 0.0.0.0 --port 4210", "reachable from elsewhere; put TLS in front of it"),
)


@click.command(epilog=EXAMPLES)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=4210, show_default=True, help="The port to listen on; 0 takes any.")
@click.option("--name", default="", help="What this receiver is called on the timeline; the machine and port when left out.")
@click.option("--ready", "ready", type=int, hidden=True, help="A file descriptor that is told when it serves.")
@click.option("--fd", "fd", type=int, hidden=True, help="A socket that is bound already.")
def command(*, host: str, port: int, name: str, ready: int | None, fd: int | None) -> None:
    """Take in alerts until ctrl-C: POST /alerts/<source>, for the sources that policy.yaml names; and show the incidents at /incidents.
    `stopgap up` does this by itself.

    An alert is written to the timeline before it is answered (202). Then it opens an incident and starts the runbook whose trigger fits.
    Several receivers may run, on several machines; an alert that comes by all of them starts one run. docs/alerts.md has what to paste at each
    sender. Also: /healthz, /readyz, /metrics. The pages of the incidents ask for the name stopgap and the text in pages.auth in stopgap's home,
    or for a reader that policy.yaml names (docs/incidents.md).
    """
    from stopgap.engine import lifeline
    from stopgap.web import server

    if ready is not None:
        lifeline.hold()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("stopgap").setLevel(logging.INFO)
    home.make(home.data_folder())
    listening = socket.socket(fileno=fd) if fd is not None else server.listen(host, port)
    address, taken = listening.getsockname()[:2]
    server.serve(
        listening,
        name=name or f"{socket.gethostname()}:{taken}",
        prefect=_prefect(),
        on_ready=_teller(ready, f"http://{address}:{taken}/alerts/"),
    )


def _prefect() -> Api | None:
    """Return the Prefect in use, if there is one: alerts are taken in without it, too."""
    from stopgap.engine import api, server

    try:
        server.use_current()
    except server.NotRunningError as error:
        logging.getLogger("stopgap.web").warning("Runs are asked for and start as soon as there is a worker. %s", error)
        return None
    return api.Api.of_environment()


def _teller(ready: int | None, address: str) -> Callable[[], None]:
    def tell() -> None:
        if ready is None:
            click.echo(
                f"Taking in alerts at {address}<source>, showing incidents at {address.removesuffix('alerts/')}incidents  ctrl-C ends it",
                err=True,
            )
        else:
            os.write(ready, b"ready\n")
            os.close(ready)

    return tell
