"""Serves the application: uvicorn, with limits on what a stranger can hold open."""

from __future__ import annotations

import logging
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from stopgap import home
from stopgap.clock import SystemClock
from stopgap.engine import api, rules, start
from stopgap.engine.intake import Intake
from stopgap.problems import StopgapError
from stopgap.timeline import open as timelines
from stopgap.web import app

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import uvicorn

    from stopgap.incidents.model import Run
    from stopgap.timeline.store import PostgresTimeline

LOG = logging.getLogger("stopgap.web")
PORT = 4210
_IDLE = 15  # seconds that a connection may wait for its next request
_AT_ONCE = 4  # runs handed to Prefect at the same time
_PAUSES = (0.2, 0.4, 0.8, 1.6)  # seconds before it is tried again; after that a worker does it


class PortError(StopgapError):
    """The port cannot be had."""


def listen(host: str, port: int) -> socket.socket:
    """Take the address, listening at once: two that only bind it may both have it. PortError says why it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sends at once only where it sees that this is TCP
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        raise PortError(f"{host}:{port} cannot be listened on ({error}). Choose another one:  stopgap serve --port 4211") from error
    return listening


def serve(listening: socket.socket, *, name: str, prefect: api.Api | None, on_ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM. Without a Prefect to talk to, the worker hands runs over, some seconds later."""
    import uvloop

    _allow_many_files()
    with timelines.timeline() as timeline, ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="hand over") as hands:
        watched = rules.Watched(home.runbooks_folder())
        watched()

        def hand_over(run: Run) -> None:
            if prefect:
                hands.submit(_schedule, timeline, prefect, run)

        intake = Intake(timeline=timeline, clock=SystemClock(), rules=watched, hand_over=hand_over)
        served = app.application(name=name, timeline=timeline, watched=watched, intake=intake)
        uvloop.run(serving(served, on_ready).serve(sockets=[listening]))


def _schedule(timeline: PostgresTimeline, prefect: api.Api, run: Run, pauses: Sequence[float] = _PAUSES) -> None:
    """Hand a run over. A Prefect that is busy for a moment is asked again: a worker would look after the run only some seconds later."""
    for pause in (*pauses, None):
        try:
            start.schedule(timeline, prefect, run)
        except StopgapError as error:
            if pause is None:
                LOG.warning("%s is asked for, and starts when a worker hands it over: %s", run.id, error)
                return
            time.sleep(pause)
        else:
            return


def serving(application: Any, on_ready: Callable[[], None]) -> uvicorn.Server:
    """Return the server of an application, not yet running."""
    import uvicorn

    from stopgap.web.connections import Protocol

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            application.state.end_streams()  # those who follow a page would keep it from ending
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            application,
            http=Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=5,
            backlog=2048,
        )
    )


def _allow_many_files() -> None:
    """A thousand idle connections are a thousand open files; the usual soft limit is 1,024."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536, hard))
