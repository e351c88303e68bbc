"""A run on Prefect: gates suspend the flow run, work shows as task runs, the timeline as an artifact."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.exceptions import Pause, PrefectHTTPStatusError
from prefect.flow_runs import asuspend_flow_run
from prefect.states import Completed, Failed, Scheduled

from stopgap.approvals import decide
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Attempt, Gate
from stopgap.engine import gate_form, start
from stopgap.engine.api import Api, PrefectAwayError
from stopgap.engine.stage import LOCKED
from stopgap.engine.telling import Telling
from stopgap.runbook.model import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRunInput, State
    from prefect.client.schemas.responses import OrchestrationResult
    from prefect.input import RunInput

    from stopgap.engine.stage import Part
    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run

LOG = logging.getLogger("stopgap.engine")
_AT_ONCE = 20  # answers between two visits to Prefect to delete them
_MOST_ANSWERS = 200  # the most that Prefect returns at once
SHORT = timedelta(seconds=2)  # beginning a run again costs half a second
BEYOND = timedelta(days=1)  # Prefect fails a run whose pause timed out; ours always ends first
NAMES = {
    Status.SKIPPED: "Skipped",
    Status.REJECTED: "Rejected",
    Status.EXPIRED: "Expired",
    Status.UNKNOWN: "OutcomeUnknown",
    Status.NOT_CHECKED: "DryRun",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefectStage:
    """A run on a flow run. A form is asked anew each time the flow run begins again, since a constant key ends in 409 for ever."""

    work: Work
    flow_run: UUID
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    _telling: Telling = field(init=False)

    def __post_init__(self) -> None:
        """Make what tells people how the run stands."""
        object.__setattr__(self, "_telling", Telling(self.work, key=_key(f"timeline-{self.work.id}")))

    async def wait(self, part: Part, gate: Gate) -> Gate:
        """Read the answers that came in; suspend the flow run when they decide nothing."""
        heard = await self.hear()
        gate = await asyncio.to_thread(self._settled, gate)
        if not gate.is_open or (await asyncio.to_thread(self.work.run)).aborted_by:
            return gate
        if not heard and gate.asked_at < self.begun:
            await asyncio.to_thread(self._note_woken, part, gate)
        await self.tell()
        question = await asyncio.to_thread(gate_form.build, self.work, part, gate)
        await self.told()
        await self._suspend(gate, question)
        return await self.wait(part, gate)

    async def rest(self, pause: timedelta, *, why: str, state: str = LOCKED) -> None:
        """Wait a few seconds here; for longer, leave the process to others and begin again when the time is over, or when the sweep says so."""
        if pause > SHORT:
            await self._put_off(pause, why, name=state)
        await asyncio.sleep(min(pause, SHORT).total_seconds())

    async def begin_run(self, run: Run) -> None:
        """Hand the run to Prefect, or wake it; while Prefect is away the sweep of a worker does it."""
        try:
            await asyncio.to_thread(self._begin, run)
        except PrefectAwayError as error:
            LOG.warning("%s begins later, because Prefect is away: %s", run.id, error)

    def _begin(self, run: Run) -> None:
        api = Api.of_environment()
        if run.flow_run:
            start.wake_if_ended(api, run)
        else:
            start.schedule(self.work.timeline, api, run)

    async def _put_off(self, pause: timedelta, why: str, *, name: str) -> None:
        """Leave the process, and let Prefect begin the flow run again later; returns when Prefect is away."""
        await self.told()
        later: State[Any] = Scheduled(name=name, scheduled_time=self.work.clock.now() + pause, message=why)
        try:
            async with get_client() as client:
                answer: OrchestrationResult[Any] = await client.set_flow_run_state(self.flow_run, later, force=True)
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            LOG.warning("%s waits in its process, because Prefect is away: %s", self.work.id, error)
        else:
            raise Pause(state=answer.state)

    async def show(self, part: Part, body: Callable[[], None]) -> None:
        """Do a stretch of work as a task run whose state says how the step stands."""
        failed: list[Exception] = []

        async def stretch() -> State[Any]:
            try:
                await asyncio.to_thread(body)
            except Exception as error:
                failed.append(error)
                raise
            record = await asyncio.to_thread(self.work.record, part.step.id)
            return _state(record.status, record.text)

        as_task = task(name=str(part.step.id), task_run_name=f"{part.step.id}: {part.uses}", cache_policy=NO_CACHE, persist_result=False)
        running: Any = as_task(stretch)(return_state=True)  # Prefect's overloads forget that the state of an async task is awaited
        await running
        for error in failed:  # Prefect made a state of it; what it means for the run is not Prefect's matter
            raise error

    async def tell(self) -> None:
        """Let people see the timeline so far, while the run goes on."""
        self._telling.begin()

    async def told(self) -> None:
        """Return when people can see all of it; before the run leaves this process."""
        await self._telling.end()

    async def leave(self) -> None:
        """Let Prefect begin the flow run again elsewhere; goes on when Prefect is away."""
        await self._put_off(timedelta(0), "Its worker was stopped; it goes on where it was.", name="AwaitingRetry")

    def _settled(self, gate: Gate) -> Gate:
        found = gates.latest(self.work.entries(), gate.step) or gate
        return decide.settle(self.work.timeline, self.work.clock, run=self.work.run(), gate=found)

    def _note_woken(self, part: Part, gate: Gate) -> None:
        """Write down that the run began again without an answer: after a crash it does, and when somebody sets its state in Prefect."""
        text = f"{part.step.name}: the run was woken without an answer, and asks again; a restart does that, or somebody in Prefect"
        self.work.write("step.note", text, step=gate.step, round=gate.round)

    async def hear(self) -> int:
        """Read every answer that came in, whatever question it is for, and return how many.

        Each counts or is refused, is on the timeline, and is left nowhere else.
        """
        async with get_client() as client:
            unread = sorted(await self._unread(client), key=lambda found: str(found.created))
            run = await asyncio.to_thread(self.work.run)
            for first in range(0, len(unread), _AT_ONCE):
                some = unread[first : first + _AT_ONCE]
                for each in some:
                    answer = Attempt.of_form(id=f"form/{self.flow_run}/{each.key}", fields=self._said(each.value), received=each.created)
                    await asyncio.to_thread(self._decide, run, answer)
                await asyncio.gather(*(self._delete(client, each.key) for each in some))
        return len(unread)

    async def hear_late(self) -> None:
        """Read what came in for a run that has ended: it is refused. Prefect being away does not change how the run ended."""
        try:
            await self.hear()
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            LOG.warning("What was answered to %s after its end could not be read from Prefect: %s", self.work.id, error)

    async def _unread(self, client: PrefectClient) -> list[FlowRunInput]:
        """Return all of them: somebody who floods Prefect with answers must not hide one."""
        found: dict[str, FlowRunInput] = {}
        while page := await client.filter_flow_run_input(
            self.flow_run, key_prefix="suspended-", limit=_MOST_ANSWERS, exclude_keys=set(found)
        ):
            found |= {each.key: each for each in page}
        return [each for key, each in found.items() if key.endswith("-response")]

    def _said(self, value: str) -> dict[str, Any]:
        """Return an answer's fields without the run's secrets; a code that looks like one of them stays whole, and is written nowhere."""
        fields = _fields(value)
        hidden: dict[str, Any] = self.work.secrets.json(fields)
        return {**hidden, **({"code": fields["code"]} if "code" in fields else {})}

    async def _delete(self, client: PrefectClient, key: str) -> None:
        """Leave no code in Prefect. The answer is on the timeline: after a crash before this, it is read again and counts once."""
        try:
            await client.delete_flow_run_input(self.flow_run, key)
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            LOG.warning("An answer of %s that was read could not be deleted in Prefect: %s", self.work.id, error)

    def _decide(self, run: Run, answer: Attempt) -> None:
        verdict = decide.decide(self.work.timeline, self.work.policy, self.work.clock, run=run, attempt=answer)
        LOG.info("%s", verdict.text)

    async def _suspend(self, gate: Gate, question: type[RunInput]) -> None:
        left = gate.expires_at - self.work.clock.now() + BEYOND
        # Each asking has a key of its own: Prefect lets a run through at a key that was answered before.
        key = f"{_question(gate)}-{uuid.uuid4().hex[:12]}"
        await asuspend_flow_run(wait_for_input=question, timeout=int(left.total_seconds()), key=key)


def _question(gate: Gate) -> str:
    return _key(f"{gate.step}-{gate.round}")


def _fields(value: str) -> dict[str, Any]:
    # Anybody who reaches Prefect's API may have written it.
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _key(text: str) -> str:
    # Prefect takes lower-case letters, digits and dashes; ids hold no dash, so no two of them become one.
    return text.lower().replace("_", "-").replace(".", "--").replace("[", "---").replace("]", "")


def _state(status: Status | None, text: str) -> State[Any]:
    if status is Status.DONE:
        return Completed(message=text)
    if status in {Status.SKIPPED, Status.NOT_CHECKED}:
        return Completed(name=NAMES[status], message=text)
    if status is Status.FAILED:
        return Failed(message=text)
    if status is None:
        return Completed(name="ToBeContinued", message="This attempt did not end the step; see the timeline")
    return Failed(name=NAMES[status], message=text)
