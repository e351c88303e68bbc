"""One Prefect flow per runbook, as an attribute of this module: `checkout_latency` for `checkout-latency`."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prefect import Flow
from prefect.context import FlowRunContext
from prefect.exceptions import Abort
from prefect.states import Completed, Failed

from stopgap import clock, home
from stopgap.actions import guard
from stopgap.clock import SystemClock
from stopgap.engine import deploy, form, journal, lease, start
from stopgap.engine import run as runs
from stopgap.engine.prefect_stage import PrefectStage
from stopgap.engine.work import Work
from stopgap.incidents import fold
from stopgap.incidents.model import Mode, Run, RunEnd
from stopgap.incidents.open import open_incident, request_run
from stopgap.plan import parameters as checked
from stopgap.policy import load as policies
from stopgap.problems import StopgapError
from stopgap.runbook import load as runbooks
from stopgap.timeline import open as timelines
from stopgap.timeline.leases import TakenOverError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun, State

    from stopgap.engine.lease import Hold
    from stopgap.policy.model import Policy
    from stopgap.runbook.model import Parameter, Runbook
    from stopgap.timeline.entry import Timeline


THREADS = 64  # in one run; the schema allows 50 entries of a list in flight, and each waits in a thread


def __getattr__(name: str) -> Flow[Any, Any]:
    """Compile the runbook whose flow is called `name`."""
    if name.startswith("__"):
        raise AttributeError(name)
    for runbook in _sound().values():
        if deploy.attribute(runbook.name) == name:
            return compile_flow(runbook)
    raise AttributeError(f"no runbook in {home.runbooks_folder()} makes a flow called {name}")


def __dir__() -> list[str]:
    """Name every flow."""
    return sorted(map(deploy.attribute, _sound()))


def _sound() -> dict[str, Runbook]:
    """Read the runbooks that can be read: a mistake in one file stops that runbook's runs, and no others."""
    return runbooks.load_sound(home.runbooks_folder())[0]


def compile_flow(runbook: Runbook) -> Flow[Any, Any]:
    """Return the flow of a runbook. Its parameters are checked in the run, against the runbook: a caller can switch Prefect's check off."""

    async def carry_out(**parameters: Any) -> State[Any]:
        return await _carry_out(runbook, parameters)

    carry_out.__signature__ = form.signature(runbook)  # type: ignore[attr-defined]
    carry_out.__name__ = carry_out.__qualname__ = deploy.attribute(runbook.name)
    carry_out.__doc__ = runbook.description
    return Flow(
        carry_out,
        name=runbook.name,
        description=runbook.description,
        version=runbook.digest[:12],
        validate_parameters=False,
        persist_result=False,
    )


async def _carry_out(runbook: Runbook, parameters: dict[str, Any]) -> State[Any]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="step"))
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise StopgapError("A runbook runs as a Prefect flow run; start it with:  stopgap run RUNBOOK")
    policy = policies.load(policies.find(runbook.path) or home.runbooks_folder() / "policy.yaml")
    with timelines.timeline() as timeline:
        run = await asyncio.to_thread(_identify, timeline, runbook, context.flow_run.id, parameters)
        carrier = await asyncio.to_thread(journal.scheduled, timeline, run, str(context.flow_run.id))
        if carrier != str(context.flow_run.id):
            return Failed(name="NotItsRun", message=f"{run.id} is carried out by another flow run, {carrier}; nothing was done here.")
        try:
            with ExitStack() as stack:
                hold = await asyncio.to_thread(stack.enter_context, lease.held(timeline, run.id, clock=SystemClock()))
                work = _work(hold, runbook, policy, run, parameters)
                why = _refusal(runbook, run, parameters)
                refusal = (RunEnd.FAILED, why) if why else await asyncio.to_thread(_late, work, context.flow_run)
                return await _held(work, context.flow_run.id, refusal=refusal)
        except TakenOverError as error:
            raise Abort(str(error)) from error  # the flow run's state is the other process's matter


async def _held(work: Work, flow_run: UUID, *, refusal: tuple[RunEnd, str] | None) -> State[Any]:
    """Carry a run out that is ours."""
    if refusal:
        end = await asyncio.to_thread(journal.broken_off, work.timeline, work.run(), *refusal)
        return _state(end, work.mode, await asyncio.to_thread(_last_words, work))
    if work.mode is not Mode.LIVE:
        guard.forbid_changes(allow=_prefect_address())
    stage = PrefectStage(work=work, flow_run=flow_run)
    try:
        end = await runs.carry_out(work, stage)
    finally:
        await stage.told()
    await stage.hear_late()
    return _state(end, work.mode, await asyncio.to_thread(_last_words, work))


def _identify(timeline: Timeline, runbook: Runbook, flow_run: UUID, parameters: dict[str, Any]) -> Run:
    """Find the run that this flow run carries out; one started in the Prefect UI is asked for here."""
    named = parameters.pop(form.RUN, None)
    if named:
        return fold.find_run(timeline, str(named))
    given = checked.check(runbook, {name: value for name, value in parameters.items() if value is not None})
    key = start.key_in_prefect(flow_run)
    incident = open_incident(timeline, title=runbook.title, severity=runbook.severity, actor="unknown", key=key)
    return request_run(timeline, incident=incident, runbook=runbook, parameters=given, mode=Mode.LIVE, starter="", key=key)


def _refusal(runbook: Runbook, run: Run, parameters: Mapping[str, Any]) -> str:
    """Say why this run cannot be carried out with this runbook: what was approved and done belongs to the very one it was asked for."""
    if run.digest != runbook.digest:
        return (
            f"{run.id} was asked for with version {run.digest[:12]} of {run.runbook}, but the file is now {runbook.digest[:12]}. "
            f"It ends here; start it anew."
        )
    missing = [name for name, each in runbook.parameters.items() if each.secret and _secret(each, parameters) is None]
    if missing:
        return f"{run.id} needs {', '.join(missing)}, which is secret and not on the timeline. Start it from its form in the Prefect UI."
    return ""


def _late(work: Work, flow_run: FlowRun) -> tuple[RunEnd, str] | None:
    """Say that a run comes too late, if it does and has not begun: the incident it was asked for may be another by now."""
    run, now = work.run(), work.clock.now()
    since = run.requested_at if run.starter else min(run.requested_at, flow_run.expected_start_time or now)
    if now - since <= run.expires or any(entry.kind == "run.started" for entry in work.entries()):
        return None
    waited = clock.format_duration(timedelta(seconds=int((now - since).total_seconds())))  # Prefect's own moments cannot be divided
    return RunEnd.EXPIRED, (
        f"{run.id} could not begin for {waited}, and was to begin within {clock.format_duration(run.expires)}. "
        f"Nothing was done; look at the incident, and start it anew."
    )


def _secret(parameter: Parameter, given: Mapping[str, Any]) -> Any:
    """Return the value of a secret parameter: Prefect keeps it with the flow run, the timeline never has it."""
    found = given.get(parameter.name)
    return parameter.schema.get("default") if found is None else found


def _work(hold: Hold, runbook: Runbook, policy: Policy, run: Run, given: Mapping[str, Any]) -> Work:
    secrets = {name: _secret(each, given) for name, each in runbook.parameters.items() if each.secret}
    values = {**run.parameters, **secrets}
    return Work(
        timeline=hold.timeline, clock=SystemClock(), policy=policy, runbook=runbook, id=run.id, mode=run.mode, parameters=values, hold=hold
    )


def _prefect_address() -> list[tuple[str, int]]:
    url = urlsplit(os.environ.get("PREFECT_API_URL", ""))
    return [(url.hostname or "127.0.0.1", url.port or (443 if url.scheme == "https" else 80))]


def _last_words(work: Work) -> str:
    return next((entry.text for entry in reversed(work.entries()) if entry.kind == "run.finished"), "")


def _state(end: RunEnd, mode: Mode, text: str) -> State[Any]:
    if end is RunEnd.DONE:
        return Completed(message=text, name=None if mode is Mode.LIVE else "DryRun")
    names = {RunEnd.REJECTED: "Rejected", RunEnd.EXPIRED: "Expired", RunEnd.ABORTED: "Aborted"}
    return Failed(message=text, name=names.get(end))
