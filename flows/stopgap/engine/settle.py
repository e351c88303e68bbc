"""What becomes of a flow run in Prefect: taken by this worker, handed back, or given up after too many crashes."""

from __future__ import annotations

import logging
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import OrchestrationResult

    from stopgap.engine.claims import Claim, Claims

log = logging.getLogger("stopgap.worker")
CRASHES = 3  # in a row, without the run ending or suspending in between
_PAGE = 200  # the most that Prefect returns at once


async def entrypoints(client: PrefectClient) -> dict[UUID, str]:
    """Return where the flow of each deployment of ours is."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
    from prefect.client.schemas.sorting import DeploymentSort

    from stopgap.engine.deploy import TAG

    found: dict[UUID, str] = {}
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    offset = 0
    while page := await client.read_deployments(deployment_filter=ours, limit=_PAGE, sort=DeploymentSort.NAME_ASC, offset=offset):
        found |= {each.id: each.entrypoint for each in page if each.entrypoint}
        offset += len(page)
    return found


async def claim(client: PrefectClient, taken: Claim) -> bool:
    """Take a run that is due; of several workers one succeeds."""
    from prefect.client.schemas.responses import SetStateStatus
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Pending

    try:
        answer: OrchestrationResult[Any] = await client.set_flow_run_state(taken.flow_run, Pending(message=_signed(taken)))
    except ObjectNotFound:
        return False
    return answer.status == SetStateStatus.ACCEPT


async def orphan(client: PrefectClient, claims: Claims, found: Claim) -> None:
    """Settle a run that nobody executes any more: let go of one that has ended or suspended; schedule one whose process died again.

    The pause before it grows, and after too many crashes the run is given up.
    """
    from prefect.states import AwaitingRetry, Crashed

    name = await _name_if_unsettled(client, found)
    if name is None:
        claims.drop(found.flow_run)
        return
    crashes = found.crashes + 1
    if crashes >= CRASHES:
        message = f"Its process died {crashes} times in a row. What it did is on the timeline; nothing is repeated by itself."
        await client.set_flow_run_state(found.flow_run, Crashed(message=message), force=True)
        claims.drop(found.flow_run)
        log.error("%s is given up: its process died %d times in a row", name, crashes)
        return
    again = datetime.now(UTC) + timedelta(seconds=2 ** (crashes - 1))
    message = f"Its process died; it goes on where it was (crash {crashes} of {CRASHES})."
    await client.set_flow_run_state(found.flow_run, AwaitingRetry(scheduled_time=again, message=message), force=True)
    claims.hand_back(found, crashes=crashes)
    log.warning("%s: its process died; it goes on where it was (crash %d of %d)", name, crashes, CRASHES)


async def hand_back(client: PrefectClient, claims: Claims, found: Claim) -> None:
    """Schedule a run again because this worker ends; no fault of the run's."""
    from prefect.states import AwaitingRetry

    name = await _name_if_unsettled(client, found)
    if name is not None:
        message = "Its worker was stopped; it goes on where it was."
        await client.set_flow_run_state(found.flow_run, AwaitingRetry(scheduled_time=datetime.now(UTC), message=message), force=True)
        log.warning("%s is handed back: it goes on where it was when a worker runs again", name)
    claims.drop(found.flow_run)


async def _name_if_unsettled(client: PrefectClient, found: Claim) -> str | None:
    """Return the name of a run that Prefect believes to be executed by us; None for one that needs nobody, or that somebody else took."""
    from prefect.client.schemas.objects import StateType
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Cancelled

    try:
        flow_run = await client.read_flow_run(found.flow_run)
        states = await client.read_flow_run_states(found.flow_run)
    except ObjectNotFound:
        return None
    taken = [state for state in states if state.type == StateType.PENDING]
    is_ours = bool(taken) and max(taken, key=lambda state: state.timestamp).message == _signed(found)
    if is_ours and flow_run.state_type == StateType.CANCELLING:
        await client.set_flow_run_state(
            found.flow_run, Cancelled(message="Cancelled; what it did until then is on the timeline."), force=True
        )
    return flow_run.name if is_ours and flow_run.state_type in {StateType.RUNNING, StateType.PENDING} else None


def _signed(taken: Claim) -> str:
    return f"Taken by the worker on {socket.gethostname()} ({taken.token})"
