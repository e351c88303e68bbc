"""One flow run in a process of its own, which was forked and connected before the run came: it can be killed and can crash alone."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import logging
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap.engine import lease, leaving, lifeline
from stopgap.problems import StopgapError
from stopgap.timeline.leases import TakenOverError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from uuid import UUID

    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

log = logging.getLogger("stopgap.worker")
READY = "ready"


@dataclass(frozen=True, slots=True)
class Order:
    """Which flow run to execute, and where its flow is: a deployment's entrypoint. `holder` names this process in the leases."""

    flow_run: UUID
    entrypoint: str
    holder: str


def serve_one(inbox: Connection) -> None:
    """Wait for one `Order`, execute it and end. Ends at once when the other end of `inbox` closes before, and dies when it closes later."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C goes to the whole terminal; the worker decides what it means for a run
    lifeline.hold(None)
    import httpx
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        with contextlib.suppress(httpx.HTTPError):  # connecting beforehand saves time; whether the server is away is seen when it matters
            client.hello()
        try:
            inbox.send(READY)
            order = inbox.recv()
        except (EOFError, OSError):
            return  # dismissed
        lifeline.hold(inbox.fileno(), on_word=leaving.asked.set)
        lease.devote(order.holder)
        try:
            _carry_out(client, order)
        except (StopgapError, httpx.HTTPError) as error:
            said = (str(error) or type(error).__name__).splitlines()[0]
            log.warning("the process of %s ends, and another goes on with it: %s", order.flow_run, said)
            sys.exit(1)


def _carry_out(client: SyncPrefectClient, order: Order) -> None:
    flow_run = client.read_flow_run(order.flow_run)
    flow = _load(client, order)
    if flow is not None:
        execute(flow, flow_run)


def execute(flow: Flow[..., Any], flow_run: FlowRun) -> None:
    """Run a claimed flow run to its end, or until it suspends. What `python -m prefect.engine` does, and the only place that does it."""
    from prefect.exceptions import Abort, Pause
    from prefect.flow_engine import run_flow

    try:
        running = run_flow(flow, flow_run=flow_run, return_type="state")
        if inspect.iscoroutine(running):
            asyncio.run(running)
    except Abort as error:
        if isinstance(error.__cause__, TakenOverError):
            sys.exit(lease.TAKEN_OVER)
        return  # somebody ended the run before it began
    except Pause:
        return  # suspended at a gate


def load(entrypoint: str) -> Flow[..., Any]:
    """`stopgap_flows.checkout_latency`, or the same as a file, `flows/stopgap_flows.py:checkout_latency` -> its flow.

    A file is imported as the module it is: Prefect would load it a second time under another name.
    """
    path, _, name = entrypoint.replace(":", ".").rpartition(".")
    module = path.removesuffix(".py").rpartition("/")[2]
    flow: Flow[..., Any] = getattr(importlib.import_module(module), name)
    return flow


def _load(client: SyncPrefectClient, order: Order) -> Flow[..., Any] | None:
    """Load the flow; when it cannot be, the run fails with the reason, and nobody tries again."""
    from prefect.states import Failed

    try:
        return load(order.entrypoint)
    except Exception as error:  # noqa: BLE001  whatever is wrong with a runbook, its run says so
        client.set_flow_run_state(
            order.flow_run, Failed(name="NotLoaded", message=f"{order.entrypoint} cannot be loaded: {error}"), force=True
        )
        return None
