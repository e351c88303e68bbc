"""The one function in which every channel ends: may this answer of this person decide this gate?"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.approvals import bounds, codes
from stopgap.approvals import gate as gates
from stopgap.approvals.model import APPROVALS, Answer, Gate, Question
from stopgap.clock import format_duration
from stopgap.incidents import fold
from stopgap.policy.model import PersonId
from stopgap.runbook.model import StepId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from stopgap.approvals.model import Attempt
    from stopgap.clock import Clock
    from stopgap.incidents.model import Run
    from stopgap.policy.model import Policy, RoleName
    from stopgap.timeline.entry import Entry, Timeline


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
    run = fold.find_run(timeline, run.id)
    entries = timeline.of_run(run.id)
    gate = gates.waiting(entries)
    reason = _closed(entries, run=run, gate=gate, attempt=attempt)
    if gate and not reason:
        reason = _objection(gate, policy=policy, attempt=attempt, now=_came(attempt, now))
    if not reason and policy.approvals.require_code:
        # Last, so that a code is used up only by an answer that counts.
        reason = codes.check(timeline, codes.Proof.of(attempt), now=now)
    if reason or gate is None:
        return _refuse(timeline, run, gate, attempt, reason)
    return _accept(timeline, clock, run, gate, attempt)


def settle(timeline: Timeline, clock: Clock, *, run: Run, gate: Gate) -> Gate:
    """Draw the conclusion that the answers and the clock allow, if any; whoever gets here first writes it. Returns the gate as it is now.

    One answer that is no approval ends the question; approvals do when they are a quorum. Also finishes what a crash left half done.
    """
    if not gate.is_open:
        return gate
    other = next((answer for answer in gate.answers if answer.answer not in APPROVALS), None)
    if other:
        text = f"{other.person} decided about {gate.step}: {other.answer}{_because(other.reason)}"
        _conclude(timeline, run, gate, kind="gate.decided", actor=other.person, text=text, answer=other.answer)
    elif len(gate.approved_by) >= gate.approvers:
        answer = _narrowest(gate)
        within = f" within {bounds.text(gate.bounds)}" if answer is Answer.WITHIN else ""
        text = f"{' and '.join(gate.approved_by)} approved {gate.step}{within}{_because(gate.answers[-1].reason)}"
        _conclude(timeline, run, gate, kind="gate.decided", actor=gate.approved_by[-1], text=text, answer=answer)
    elif clock.now() >= gate.expires_at:
        text = f"Nobody decided about {gate.step} within {format_duration(gate.expires)}: expired"
        _conclude(timeline, run, gate, kind="gate.expired", actor="stopgap", text=text, answer=None)
    return gates.latest(timeline.of_run(run.id), gate.step) or gate


def _narrowest(gate: Gate) -> Answer:
    """Bounds hold only when a quorum approved within them; whoever approved the change as it was shown allowed no other."""
    within = {each.person for each in gate.answers if each.answer is Answer.WITHIN}
    return Answer.WITHIN if len(within) >= gate.approvers else Answer.APPROVE


def escalate(timeline: Timeline, clock: Clock, *, run: Run, gate: Gate) -> None:
    """Write down, once, that nobody decided for so long and that the next role may decide as well. It may whether this was written or not."""
    if gate.is_open and gate.escalate_to and len(gate.roles(clock.now())) > len(gate.by):
        after = format_duration(gate.escalate_after) if gate.escalate_after else ""
        text = f"Nobody decided about {gate.step} within {after}: {gate.escalate_to} may decide as well"
        key = f"gate.escalated/{run.id}/{gate.step}/{gate.round}"
        _append(timeline, run, gate, kind="gate.escalated", actor="stopgap", key=key, text=text, data={"to": gate.escalate_to})


def void(timeline: Timeline, run: Run, gate: Gate, *, why: str) -> None:
    """Take an approval back because what it was for has changed."""
    key = f"gate.voided/{run.id}/{gate.step}/{gate.round}"
    _append(timeline, run, gate, kind="gate.voided", actor="stopgap", key=key, text=why, data={})


def may_decide(gate: Gate, policy: Policy, now: datetime) -> tuple[PersonId, ...]:
    """Return everybody whose answer would count now, holders before deputies; all people when the gate names no role."""
    roles = gate.roles(now)
    people = [person for role in roles for person in policy.holders(role)] if roles else list(policy.people)
    excluded = {gate.starter} if gate.question is Question.APPROVE and not gate.allow_self else set()
    return tuple(dict.fromkeys(person for person in people if person not in excluded))


def _came(attempt: Attempt, now: datetime) -> datetime:
    """Return the moment by which an answer is judged: when the server received it, if it lay unread for no longer than a code counts."""
    if attempt.received is None or not timedelta(0) <= now - attempt.received <= codes.LATEST:
        return now
    return attempt.received


def _closed(entries: Iterable[Entry], *, run: Run, gate: Gate | None, attempt: Attempt) -> str:
    """Say why there is nothing (left) to decide; empty when there is."""
    if run.end is not None:
        return f"{run.id} has ended ({run.end}); there is nothing left to decide."
    meant = gates.with_digest(entries, attempt.digest)
    if gate is None and meant is None:
        return f"{run.id} waits for nobody: its question has been decided already, or it has not asked yet."
    if meant is None or meant.is_open:
        return ""
    if gate is not None:
        change = f"now it is about {gate.digest} (round {gate.round} of {gate.step})"
        return f"The answer is for change {meant.digest}, the question of round {meant.round} of {meant.step}; {change}. Look at it and decide anew."
    return f"Too late: {meant.decided.text if meant.decided else f'the approval of {meant.step} is void'}."


def _objection(gate: Gate, *, policy: Policy, attempt: Attempt, now: datetime) -> str:
    """Say why this answer cannot count; empty when it can."""
    if now >= gate.expires_at:
        return f"The question about {gate.step} expired after {format_duration(gate.expires)}."
    if attempt.answer not in set(gate.allowed):
        return f'"{attempt.answer}" is no answer to this question. Allowed: {", ".join(gate.allowed)}.'
    if attempt.digest != gate.digest:
        return f"The answer is for change {attempt.digest or '(none)'}, but the open question is about {gate.digest}. Look at it again and decide anew."
    return _person_objection(gate, policy=policy, attempt=attempt, now=now)


def _person_objection(gate: Gate, *, policy: Policy, attempt: Attempt, now: datetime) -> str:
    person = PersonId(attempt.person)
    if person not in policy.people:
        near = difflib.get_close_matches(attempt.person, policy.people, n=1)
        return f'Policy knows nobody called "{attempt.person}".' + (f" Did you mean {near[0]}?" if near else "")
    entitled = may_decide(gate, policy, now)
    if person not in entitled:
        started = person == gate.starter and gate.question is Question.APPROVE and not gate.allow_self
        why = "started this run, and somebody else must approve it" if started else f"does not hold {_roles(gate.roles(now))}"
        return f"{person} {why}. {', '.join(entitled) or 'Nobody'} may decide."
    if person in gate.approved_by and attempt.answer in APPROVALS:
        return f"{person} has approved already; {gate.approvers - len(gate.approved_by)} more of {', '.join(entitled)} must."
    return ""


def _roles(roles: tuple[RoleName, ...]) -> str:
    return " or ".join(roles) or "any role"


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


def _accept(timeline: Timeline, clock: Clock, run: Run, gate: Gate, attempt: Attempt) -> Verdict:
    text = f"{attempt.person} answered the question about {gate.step} by {attempt.channel}: {attempt.answer}{_because(attempt.reason)}"
    data = {"answer": attempt.answer, "change": attempt.digest, "channel": attempt.channel, "reason": attempt.reason}
    key = f"gate.attempt/{attempt.id}"
    _append(timeline, run, gate, kind="gate.answered", actor=attempt.person, key=key, text=text, data=data)
    after = settle(timeline, clock, run=run, gate=gates.latest(timeline.of_run(run.id), gate.step) or gate)
    if after.decided is None:
        return Verdict(accepted=True, text=f"{text}; {after.approvers - len(after.approved_by)} more must approve", gate=after)
    mine = {answer.answer for answer in after.answers if answer.person == attempt.person}
    counted = bool(mine & APPROVALS) if after.answer in APPROVALS else after.answer in mine
    return Verdict(accepted=counted, text=after.decided.text if counted else f"Too late: {after.decided.text}", gate=after)


def _conclude(  # noqa: PLR0913  one decision's parts
    timeline: Timeline, run: Run, gate: Gate, *, kind: str, actor: str, text: str, answer: Answer | None
) -> None:
    data = {"answer": str(answer or ""), "change": gate.digest, "approved_by": list(gate.approved_by)}
    key = f"gate.decided/{run.id}/{gate.step}/{gate.round}"
    _append(timeline, run, gate, kind=kind, actor=actor, key=key, text=text, data=data)


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _append(  # noqa: PLR0913  an entry's parts
    timeline: Timeline, run: Run, gate: Gate, *, kind: str, actor: str, key: str, text: str, data: Mapping[str, object]
) -> None:
    draft = run.draft(
        step=gate.step,
        kind=kind,
        actor=actor,
        key=key,
        text=text,
        data={"round": gate.round, **data},
    )
    timeline.append(draft)
