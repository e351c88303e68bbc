"""Updates for people outside the response. One for the public passes a gate of the communications role first, and is sent word for word as approved."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from stopgap.approvals import attention, decide, lapse
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer, Question
from stopgap.clock import format_time
from stopgap.incidents import fold
from stopgap.problems import StopgapError
from stopgap.runbook.model import ApprovalRequest, StepId
from stopgap.timeline.chain import RESPONDERS
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from stopgap.approvals.model import Gate
    from stopgap.clock import Clock
    from stopgap.incidents.model import Incident, Run
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Entry, Timeline

STEP = StepId("update")


class NobodyApprovesError(StopgapError):
    """Nobody may approve what the public is told."""


class DamagedError(StopgapError):
    """The chain that an approval stands in was changed by somebody without the timeline's key."""


def tell(timeline: Timeline, incident: Incident, *, person: str, text: str, eta: datetime | None) -> Entry:
    """Send an update to everybody inside, by every channel; a worker sends it."""
    return timeline.append(
        _sent(incident, person=person, text=text, eta=eta, audience="internal", key=f"update.sent/{uuid.uuid4().hex}")
    ).entry


def draft(timeline: Timeline, policy: Policy, incident: Incident, *, person: str, text: str, eta: datetime | None) -> Run:  # noqa: PLR0913  an update's parts
    """Write down an update for the public and ask the communications role; NobodyApprovesError when nobody holds it."""
    role = policy.incidents.communications
    if not policy.holders(role):
        raise NobodyApprovesError(
            f"An update for the public needs the approval of {role}, and policy.yaml names nobody for it.\n"
            f"Add it under roles in policy.yaml:  {role}: {{holders: [{person}]}}"
        )
    name = f"{incident.id}.u{timeline.next_number(f'{incident.id} update')}"
    data = {"text": text, "eta": format_time(eta) if eta else ""}
    said = f"{person} wrote an update for the public, which {role} must approve: {text}"
    timeline.append(
        Draft(
            chain=incident.id,
            incident=incident.id,
            run=name,
            kind="update.drafted",
            actor=person,
            text=said,
            key=f"update.drafted/{name}",
            data=data,
        )
    )
    run = fold.find_run(timeline, name)
    ask(timeline, policy, incident, run)
    return run


def ask(timeline: Timeline, policy: Policy, incident: Incident, run: Run) -> Gate:
    """Ask about an update that was drafted, once; again when the approval was void."""
    rules, asks = policy.rules(incident.severity), dict(run.parameters)
    until = f" Expected to be over: {asks['eta']}." if asks["eta"] else ""
    asks["why"] = f'May the public be told this? "{asks["text"]}"{until}'
    already = gates.latest(timeline.of_run(run.id), STEP)
    if already and not already.voided:
        return already
    return gates.ask(
        timeline,
        run,
        step=STEP,
        question=Question.UPDATE,
        request=ApprovalRequest(by=(policy.incidents.communications,)),
        expires=rules.expires,
        chain=(),
        asks=asks,
        text=f"{run.id}: {asks['why']}",
        allow_self=True,
    )


def look_after(timeline: Timeline, clock: Clock, policy: Policy, incident: Incident, entries: Sequence[Entry]) -> None:
    """See every update for the public to its end: asked about, reminded of, decided, sent. Whoever gets to it first does each."""
    ended = {entry.run for entry in entries if entry.kind == "update.sent"}
    for name in dict.fromkeys(entry.run for entry in entries if entry.kind == "update.drafted" and entry.run not in ended):
        run = fold.find_run(timeline, name)
        gate = ask(timeline, policy, incident, run)
        if gate.is_open:
            attention.pay(timeline, policy, clock, run)
            gate = decide.settle(timeline, clock, run=run, gate=gate)
        if gate.answer is Answer.APPROVE:
            _publish(timeline, policy, incident, run, gate)


def _publish(timeline: Timeline, policy: Policy, incident: Incident, run: Run, gate: Gate) -> None:
    """Send what the gate showed, and nothing that stands elsewhere."""
    if why := lapse.why_void(timeline, policy, gate, chain=timeline.of_chain(incident.id)):
        decide.void(timeline, run, gate, why=f"{run.id} is not sent, for its approval counts no more: {why}")
        return
    for name in (incident.id, RESPONDERS):
        if damage := timeline.damage(name):
            raise DamagedError(f"{run.id} is not sent although it was approved: {damage}. Look at it:  stopgap timeline verify")
    asks = gate.asks
    timeline.append(
        _sent(incident, person=run.starter, text=asks["text"], eta=asks["eta"], audience="public", key=f"update.sent/{run.id}", run=run.id)
    )


def _sent(incident: Incident, *, person: str, text: str, eta: datetime | str | None, audience: str, key: str, run: str = "") -> Draft:  # noqa: PLR0913  an update's parts
    data: dict[str, Any] = {"text": text, "audience": audience, "eta": eta if isinstance(eta, str) else format_time(eta) if eta else ""}
    said = f"{person} tells {'everybody' if audience == 'public' else 'everybody inside'}: {text}"
    return Draft(chain=incident.id, incident=incident.id, run=run, kind="update.sent", actor=person, text=said, key=key, data=data)
