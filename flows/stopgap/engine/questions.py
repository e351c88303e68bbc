"""What a run asks people, and what follows from their answer."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stopgap.approvals import bounds, decide, difference, lapse
from stopgap.approvals import gate as gates
from stopgap.approvals.model import APPROVALS, Answer, Gate, Question
from stopgap.engine import attempt, hiding
from stopgap.runbook.model import ApprovalRequest, Status
from stopgap.timeline.chain import RESPONDERS
from stopgap.timeline.writing import TamperedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Action, Change
    from stopgap.engine.stage import Part, Stage
    from stopgap.engine.work import Work


AT_LEAST = timedelta(minutes=5)  # what a question that is asked anew always leaves to answer it
VOID = "the approval is void, because the change is no longer the one approved"


class NotApprovedError(Exception):
    """What a member would change now is not what was approved. No StopgapError: all that wait beside it are asked about anew, and nothing failed."""


async def approved(work: Work, part: Part, stage: Stage, action: Action) -> Change | None:
    """Return the change as it is allowed to be made now; None when the step ended at its gate instead.

    An approval counts for exactly the change it was given for: the live state is read again here, and what differs is asked anew.
    """
    if part.within is not None:
        return await asyncio.to_thread(_approved_together, work, part, part.within, action)
    gate = await answered(work, part, stage)
    while True:
        # Before anything else: whatever has moved since, no was the answer. A question that is still open is one of a run that was ended.
        if gate and (gate.is_refused or gate.is_open):
            return await asyncio.to_thread(refused, work, part, gate)
        change = await asyncio.to_thread(plan, work, part, action)
        request = part.request(action, change)
        if request is None or (gate and await asyncio.to_thread(_allows, work, gate, action, change)):
            if gate:
                await asyncio.to_thread(_trust, work)
            return change
        await asyncio.to_thread(_ask_approval, work, part, action, change, request=request, before=gate)
        gate = await answered(work, part, stage)


def covers(work: Work, gate: Gate, action: Action, change: Change) -> bool:
    """Whether this gate's approval is for exactly this change of exactly this thing, or for one within the bounds that were approved."""
    if gate.voided or gate.answer not in APPROVALS or gate.asks.get("arguments") != _arguments(work, action):
        return False
    return gate.asks["digest"] == change.digest or (gate.answer is Answer.WITHIN and bounds.hold(gate, _shown(work, change)))


def fallen(work: Work, gate: Gate | None) -> str:
    """Say why an approval counts no more though the change is the one that was approved: whoever gave it may not decide any more. Empty when it does."""
    if gate is None or gate.answer not in APPROVALS:
        return ""
    return lapse.why_void(work.timeline, work.policy, gate, chain=work.timeline.of_chain(work.run().incident))


def _allows(work: Work, gate: Gate, action: Action, change: Change) -> bool:
    return covers(work, gate, action, change) and not fallen(work, gate)


def _trust(work: Work) -> None:
    """Refuse to act on an approval when anybody without the timeline's key has touched what it rests on: the incident's chain, and who is enrolled."""
    incident = work.run().incident
    strange = next(
        (f"{entry.chain} #{entry.number} says something about {work.id}." for entry in work.entries() if entry.chain != incident), ""
    )
    damage = next(filter(None, map(work.timeline.damage, (incident, RESPONDERS))), None)
    if strange or damage:
        raise TamperedError(
            f"{strange or (damage and damage.sentence)} No approval in {incident} counts until that is explained; nothing was done. "
            "See what else is wrong:  stopgap timeline verify"
        )


async def ask(work: Work, part: Part, stage: Stage, *, question: Question, asks: Mapping[str, Any]) -> Gate:
    """Ask about a step, or go on with the same question asked before; returns the decided gate."""
    asks = hiding.hidden(work.secrets, asks)
    async with part.turn:
        gate = await asyncio.to_thread(latest, work, part, question)
        same = gate is not None and not gate.voided and dict(gate.asks) == dict(asks)
        if gate is None or not same:
            request = part.step.approval or ApprovalRequest(by=work.rules().high_risk if question is Question.DOUBT else ())
            text = f"{part.step.name}: {asks['why']}"
            gate = await asyncio.to_thread(put, work, part, question, request, asks, text)
        return await stage.wait(part, gate)


async def confirmed(work: Work, part: Part, stage: Stage, action: Action) -> None:
    """Let a human do the step, and say so."""
    change = await asyncio.to_thread(plan, work, part, action)
    gate = await ask(
        work, part, stage, question=Question.CONFIRM, asks={"why": change.summary, "notes": [str(each) for each in change.after.values()]}
    )
    if gate.answer is Answer.DONE and gate.decided:
        text = f"{part.step.name}: {gate.decided.actor} did it"
        await stage.show(part, lambda: _ended(work, part, text))
    else:
        await asyncio.to_thread(refused, work, part, gate)


def why_empty(gate: Gate) -> str:
    """Return the sentence of a gate that was not approved."""
    return gate.decided.text if gate.decided else "not decided"


async def answered(work: Work, part: Part, stage: Stage) -> Gate | None:
    """Return the newest question about whether a step may be done, once it is answered; None when it was never asked."""
    gate = await asyncio.to_thread(latest, work, part, Question.APPROVE)
    return await stage.wait(part, gate) if gate and gate.is_open else gate


def latest(work: Work, part: Part, question: Question) -> Gate | None:
    """Return the newest question of this kind about a step."""
    return gates.latest(work.entries(), part.step.id, question=question)


def plan(work: Work, part: Part, action: Action) -> Change:
    """Plan a step against the live state, and journal what it would change where that is news."""
    change = attempt.plan(work, part, action)
    last = next((entry for entry in reversed(work.entries()) if entry.kind == "step.planned" and entry.step == part.step.id), None)
    if last is None or last.data["change"] != hiding.hidden(work.secrets, change.to_json()):
        work.planned(part.step, action, change)
    return change


def _ask_approval(  # noqa: PLR0913  one question's parts
    work: Work, part: Part, action: Action, change: Change, *, request: tuple[ApprovalRequest, str], before: Gate | None
) -> Gate:
    wanted, why = request
    asks = {"why": why, **what(work, action, change)}
    if before and before.answer in APPROVALS:
        asks |= _since(work, part, before, asks)
    expires = time_left(work, before)
    return put(work, part, Question.APPROVE, wanted, asks, f"{part.step.name}: may this be done? {change.summary}", expires=expires)


def what(work: Work, action: Action, change: Change) -> dict[str, Any]:
    """Return what a question shows of one change, and what an approval of it is held to."""
    return {
        "uses": action.name,
        "arguments": _arguments(work, action),
        "targets": sorted(action.targets()),
        "digest": change.digest,
        "undoes": action.undoes,
        "change": _shown(work, change),
    }


def time_left(work: Work, before: Gate | None) -> timedelta | None:
    """Return how long a question may wait that is asked anew; None for one that was not asked before."""
    if before is None:
        return None
    left = min(before.expires_at - work.clock.now(), before.expires)  # no longer than it was, even when the clock was set back
    return max(timedelta(seconds=int(left.total_seconds())), AT_LEAST)


def _since(work: Work, part: Part, before: Gate, asks: Mapping[str, Any]) -> dict[str, Any]:
    """Take back the approval that no longer fits; return what the next question says of that: the difference, and after two of these bounds."""
    added: dict[str, Any] = {**void(work, part, before), "differs": difference.between(before.asks, asks)}
    rounds = gates.rounds(work.entries(), part.step.id, question=Question.APPROVE)
    if sum(each.voided for each in rounds) >= bounds.VOIDS:
        alike = [each.asks["change"] for each in rounds if each.asks.get("arguments") == asks["arguments"]]
        added["bounds"] = bounds.offer([*alike, asks["change"]])
    return added


def void(work: Work, part: Part, before: Gate) -> dict[str, Any]:
    """Take an approval back; return what the next question says of the reason, unless the change itself is that."""
    lost = fallen(work, before)
    decide.void(work.timeline, work.run(), before, why=f"{part.step.name}: {f'the approval is void, because {lost}' if lost else VOID}")
    return {"lapsed": lost} if lost else {}


def _arguments(work: Work, action: Action) -> dict[str, Any]:
    """Return an action's `with:` as it was rendered: an approval for one cluster is none for another."""
    given = {each.name: getattr(action, each.name) for each in dataclasses.fields(action)}  # type: ignore[arg-type]  # checked at registration
    return hiding.hidden(work.secrets, _as_read_back(given))


def _shown(work: Work, change: Change) -> dict[str, Any]:
    shown = {name: value for name, value in change.to_json().items() if name not in {"precondition", "undo"}}
    return hiding.hidden(work.secrets, _as_read_back(shown))


def _as_read_back(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data as the timeline gives it back, so that what was asked compares equal with what is asked for now."""
    read: dict[str, Any] = json.loads(json.dumps(data, default=str))
    return read


def put(  # noqa: PLR0913, PLR0917  one question's parts
    work: Work,
    part: Part,
    question: Question,
    request: ApprovalRequest,
    asks: Mapping[str, Any],
    text: str,
    *,
    expires: timedelta | None = None,
) -> Gate:
    """Put a question on the timeline."""
    rules = work.rules()
    return gates.ask(
        work.timeline,
        work.run(),
        step=part.step.id,
        question=question,
        request=dataclasses.replace(request, approvers=max(request.approvers, rules.approvers)),
        expires=expires or request.expires or rules.expires,
        chain=rules.escalate,
        asks=hiding.hidden(work.secrets, asks),
        text=work.secrets.text(text),
        allow_self=rules.allow_self,
    )


def _approved_together(work: Work, part: Part, whole: Part, action: Action) -> Change:
    """Return a member's change if it is the very one that was approved; NotApprovedError when it must be asked about anew."""
    change = plan(work, part, action)
    gate = latest(work, whole, Question.APPROVE)
    asked = of_member(gate, part) if gate else None
    if _allows(work, asked, action, change) if asked else part.request(action, change) is None:
        if asked:
            _trust(work)
        return change
    raise NotApprovedError


def of_member(gate: Gate, part: Part) -> Gate | None:
    """Return one question about several as if it asked about this member alone; None when it does not ask about it."""
    asked = next((each for each in gate.asks["members"] if each["step"] == part.step.id), None)
    return dataclasses.replace(gate, asks=asked) if asked else None


def refused(work: Work, part: Part, gate: Gate) -> None:
    """End a step at its gate: the run goes on after a skip, and ends after a stop."""
    if gate.has_expired:
        work.finished(part.step, Status.EXPIRED, f"{part.step.name}: {why_empty(gate)}")
        return
    work.finished(part.step, Status.REJECTED, f"{part.step.name}: {why_empty(gate)}", ends=ends(gate))


def ends(gate: Gate) -> str:
    """Say whether the answer ends the run too: "stop", "undo", or empty."""
    return "" if gate.has_expired else {Answer.STOP: "stop", Answer.UNDO: "undo"}.get(gate.answer or Answer.STOP, "")


def _ended(work: Work, part: Part, text: str) -> None:
    work.finished(part.step, Status.DONE, text)
