"""The one function in which every channel ends: may this answer of this person decide this gate?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.approvals import bounds, codes, entitled, lapse, responders
from stopgap.approvals import gate as gates
from stopgap.approvals.entitled import Side
from stopgap.approvals.model import APPROVALS, Answer, Gate
from stopgap.clock import format_duration
from stopgap.incidents import fold, roles
from stopgap.policy.model import PersonId
from stopgap.runbook.model import StepId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from stopgap.approvals.model import Attempt
    from stopgap.clock import Clock
    from stopgap.incidents.model import Run
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Draft, Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of an attempt: whether it counts, the sentence for whoever made it, and the gate after it."""

    accepted: bool
    text: str
    gate: Gate | None


def decide(timeline: Timeline, policy: Policy, clock: Clock, *, run: Run, attempt: Attempt) -> Verdict:
    """Record an answer, or refuse it; either way it is on the timeline, once, however often it is read.

    Raises nothing for a bad answer: a refusal is a `Verdict` with the reason.
    """
    recorded = timeline.find(f"gate.attempt/{attempt.id}")
    if recorded:
        gate = gates.latest(timeline.of_run(run.id), StepId(recorded.step))
        return Verdict(accepted=recorded.kind != "gate.refused", text=recorded.text, gate=gate)
    now = clock.now()
    chain = timeline.of_chain(run.incident)
    if lapse.note(timeline, policy, run, chain, now=now):
        chain = timeline.of_chain(run.incident)
    entries = [entry for entry in chain if entry.run == run.id]
    run, asked = fold.run(entries) or run, gates.every(entries)
    gate, side = gates.open_one(asked), Side.of(policy, chain, now=_came(attempt, now))
    reason = _closed(asked, run=run, gate=gate, attempt=attempt)
    if gate and not reason:
        reason = _objection(gate, side=side, attempt=attempt)
    enrolled = responders.roll(timeline).enrolled.get(PersonId(attempt.person)) if policy.approvals.require_code else None
    if not reason and policy.approvals.require_code:
        # Last, so that a code is used up only by an answer that counts.
        reason = codes.check(timeline, codes.Proof.of(attempt), now=now)
    if reason or gate is None:
        return _refuse(timeline, run, gate, attempt, reason)
    if attempt.answer == Answer.WITHDRAW:
        return _withdraw(timeline, clock, run, gate, attempt)
    return _accept(timeline, clock, run, gate, attempt, side, enrolment=enrolled.id if enrolled else "")


def settle(timeline: Timeline, clock: Clock, *, run: Run, gate: Gate) -> Gate:
    """Draw the conclusion that the answers and the clock allow, if any; whoever gets here first writes it. Returns the gate as it is now.

    One answer that is no approval ends the question; approvals do when they are a quorum, and one that breaks the glass does alone. Also
    finishes what a crash left half done.
    """
    if not gate.is_open:
        return gate
    other = next((answer for answer in gate.answers if answer.answer not in APPROVALS), None)
    alone = next((answer for answer in gate.answers if answer.breaks_glass), None)
    if other:
        text = f"{other.who} decided about {gate.step}: {other.answer}{_because(other.reason)}"
        _conclude(timeline, run, gate, kind="gate.decided", actor=other.person, text=text, answer=other.answer)
    elif alone:
        text = f"BREAK GLASS: {alone.who} approved {gate.step} alone{_because(alone.reason)}"
        _conclude(timeline, run, gate, kind="gate.decided", actor=alone.person, text=text, answer=Answer.APPROVE)
    elif not gate.still_needed:
        answer = _narrowest(gate)
        within = f" within {bounds.text(gate.bounds)}" if answer is Answer.WITHIN else ""
        text = f"{' and '.join(each.who for each in gate.answers)} approved {gate.step}{within}{_because(gate.answers[-1].reason)}"
        _conclude(timeline, run, gate, kind="gate.decided", actor=gate.approved_by[-1], text=text, answer=answer)
    elif clock.now() >= gate.expires_at:
        text = f"Nobody decided about {gate.step} within {format_duration(gate.expires)}: expired"
        _conclude(timeline, run, gate, kind="gate.expired", actor="stopgap", text=text, answer=None)
    return gates.latest(timeline.of_run(run.id), gate.step) or gate


def _narrowest(gate: Gate) -> Answer:
    """Bounds hold only when a quorum approved within them; whoever approved the change as it was shown allowed no other."""
    within = {each.person for each in gate.answers if each.answer is Answer.WITHIN}
    return Answer.WITHIN if len(within) >= gate.approvers else Answer.APPROVE


def void(timeline: Timeline, run: Run, gate: Gate, *, why: str) -> None:
    """Take an approval back because what it was for has changed."""
    key = f"gate.voided/{run.id}/{gate.step}/{gate.round}"
    _append(timeline, run, gate, kind="gate.voided", actor="stopgap", key=key, text=why, data={})


def _came(attempt: Attempt, now: datetime) -> datetime:
    """Return the moment by which an answer is judged: when the server received it, if it lay unread for no longer than a code counts."""
    if attempt.received is None or not timedelta(0) <= now - attempt.received <= codes.LATEST:
        return now
    return attempt.received


def _closed(asked: Iterable[Gate], *, run: Run, gate: Gate | None, attempt: Attempt) -> str:
    """Say why there is nothing (left) to decide; empty when there is."""
    if run.end is not None:
        return f"{run.id} has ended ({run.end}); there is nothing left to decide."
    meant = next((each for each in asked if each.digest == attempt.digest), None)
    if gate is None and meant is None:
        return f"{run.id} waits for nobody: its question has been decided already, or it has not asked yet."
    if meant is None or meant.is_open:
        return ""
    if gate is not None:
        change = f"now it is about {gate.digest} (round {gate.round} of {gate.step})"
        return f"The answer is for change {meant.digest}, the question of round {meant.round} of {meant.step}; {change}. Look at it and decide anew."
    return f"Too late: {meant.decided.text if meant.decided else f'the approval of {meant.step} is void'}."


def _objection(gate: Gate, *, side: Side, attempt: Attempt) -> str:
    """Say why this answer cannot count; empty when it can."""
    if side.now >= gate.expires_at:
        return f"The question about {gate.step} expired after {format_duration(gate.expires)}."
    if attempt.answer not in set(gate.allowed):
        return f'"{attempt.answer}" is no answer to this question. Allowed: {", ".join(gate.allowed)}.'
    if attempt.digest != gate.digest:
        return f"The answer is for change {attempt.digest or '(none)'}, but the open question is about {gate.digest}. Look at it again and decide anew."
    return entitled.objection(gate, side, attempt)


def _refuse(timeline: Timeline, run: Run, gate: Gate | None, attempt: Attempt, reason: str) -> Verdict:
    who = attempt.person or "nobody named"
    draft = run.draft(
        step=gate.step if gate else "",
        kind="gate.refused",
        actor=attempt.person or "unknown",
        key=f"gate.attempt/{attempt.id}",
        text=f"Refused an answer of {who} by {attempt.channel}: {reason}",
        data={
            "round": gate.round if gate else 0,
            "answer": attempt.answer,
            "change": attempt.digest,
            "channel": attempt.channel,
            "why": reason,
        },
    )
    timeline.append(draft)
    return Verdict(accepted=False, text=reason, gate=gate)


def _accept(  # noqa: PLR0913, PLR0917  an answer and what it is judged by
    timeline: Timeline, clock: Clock, run: Run, gate: Gate, attempt: Attempt, side: Side, *, enrolment: str
) -> Verdict:
    command = entitled.command_taken(gate, side, run.incident, PersonId(attempt.person))
    standing = roles.COMMANDER if command else entitled.standing(gate, side, PersonId(attempt.person))
    glass = "BREAK GLASS: " if attempt.breaks_glass else ""
    text = (
        f"{glass}{attempt.person} answered the question about {gate.step} by {attempt.channel}: {attempt.answer}{_because(attempt.reason)}"
    )
    data = {
        "answer": attempt.answer,
        "change": attempt.digest,
        "channel": attempt.channel,
        "reason": attempt.reason,
        "standing": standing,
        "break_glass": attempt.breaks_glass,
        "enrolment": enrolment,
    }
    key = f"gate.attempt/{attempt.id}"
    answered = _draft(run, gate, kind="gate.answered", actor=attempt.person, key=key, text=text, data=data)
    timeline.append_all([*filter(None, [command]), answered])
    after = settle(timeline, clock, run=run, gate=gates.latest(timeline.of_run(run.id), gate.step) or gate)
    if after.decided is None:
        lost = "".join(f" {each}." for each in after.lapsed)
        return Verdict(accepted=True, text=f"{text}; {after.still_needed} more must approve.{lost}", gate=after)
    mine = {answer.answer for answer in after.answers if answer.person == attempt.person}
    counted = bool(mine & APPROVALS) if after.answer in APPROVALS else after.answer in mine
    return Verdict(accepted=counted, text=after.decided.text if counted else f"Too late: {after.decided.text}", gate=after)


def _withdraw(timeline: Timeline, clock: Clock, run: Run, gate: Gate, attempt: Attempt) -> Verdict:
    text = f"{attempt.person} withdrew their approval of {gate.step} by {attempt.channel}{_because(attempt.reason)}"
    data = {"change": attempt.digest, "channel": attempt.channel, "reason": attempt.reason}
    _append(timeline, run, gate, kind="gate.withdrawn", actor=attempt.person, key=f"gate.attempt/{attempt.id}", text=text, data=data)
    after = settle(timeline, clock, run=run, gate=gates.latest(timeline.of_run(run.id), gate.step) or gate)
    if after.decided is None:
        return Verdict(accepted=True, text=f"{text}; {after.still_needed} more must approve", gate=after)
    return Verdict(accepted=False, text=f"Too late: {after.decided.text}", gate=after)


def _conclude(  # noqa: PLR0913  one decision's parts
    timeline: Timeline, run: Run, gate: Gate, *, kind: str, actor: str, text: str, answer: Answer | None
) -> None:
    key = f"gate.decided/{run.id}/{gate.step}/{gate.round}"
    people = [{"person": each.person, "answer": str(each.answer), "standing": each.standing} for each in gate.answers]
    data = {
        "answer": str(answer or ""),
        "change": gate.digest,
        "approved_by": list(gate.approved_by),
        "people": people,
        "break_glass": answer is Answer.APPROVE and any(each.breaks_glass for each in gate.answers),
    }
    _append(timeline, run, gate, kind=kind, actor=actor, key=key, text=text, data=data)


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _append(  # noqa: PLR0913  an entry's parts
    timeline: Timeline, run: Run, gate: Gate, *, kind: str, actor: str, key: str, text: str, data: Mapping[str, object]
) -> None:
    timeline.append(_draft(run, gate, kind=kind, actor=actor, key=key, text=text, data=data))


def _draft(run: Run, gate: Gate, *, kind: str, actor: str, key: str, text: str, data: Mapping[str, object]) -> Draft:  # noqa: PLR0913  an entry's parts
    return run.draft(step=gate.step, kind=kind, actor=actor, key=key, text=text, data={"round": gate.round, **data})
