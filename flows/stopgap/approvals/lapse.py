"""Approvals of people who may not decide any more.

Each answer names who gave it and with which enrolment. While others are still needed, an approval falls as soon as the next answer comes in
and its giver could not give it now. A quorum that is full has decided; it falls only when it was none, because a role changed hands in
between, or when policy or a revoked code takes back that it was them. What falls is an entry, so everybody reads the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stopgap.approvals import gate as gates
from stopgap.approvals import responders
from stopgap.approvals.entitled import Side, may_decide
from stopgap.approvals.model import APPROVALS, Answer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from stopgap.approvals.model import Answered, Gate
    from stopgap.incidents.model import Run
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Draft, Entry, Timeline


def note(timeline: Timeline, policy: Policy, run: Run, chain: Sequence[Entry], *, now: datetime) -> bool:
    """Write down which approvals at the open gate of a run were given by people who may not decide now; False when there are none."""
    gate = gates.open_one(gates.every(entry for entry in chain if entry.run == run.id))
    if gate is None or gate.is_settled:
        return False
    fallen = _fallen(timeline, gate, Side.of(policy, chain, now=now))
    if fallen:
        timeline.append_all([_draft(run, gate, answer, _text(answer, why)) for answer, why in fallen])
    return bool(fallen)


def seen(timeline: Timeline, gate: Gate, side: Side) -> Gate:
    """Return an open gate as it would be judged now: without the approvals that count no more, and with the sentences that say why."""
    if not gate.is_open or gate.is_settled:
        return gate
    fallen = _fallen(timeline, gate, side)
    lost = [answer for answer, _ in fallen]
    rest = tuple(answer for answer in gate.answers if answer not in lost)
    return replace(gate, answers=rest, lapsed=(*gate.lapsed, *(_text(answer, why) for answer, why in fallen)))


def why_void(timeline: Timeline, policy: Policy, gate: Gate, *, chain: Sequence[Entry]) -> str:
    """Say why a gate that was approved is not, by what its approvals were worth when the last of them came; empty when it still is."""
    full = max((answer.number for answer in gate.answers), default=0)
    side = Side.of(policy, [entry for entry in chain if entry.number <= full], now=gate.asked_at)
    fallen = _fallen(timeline, gate, side)
    lost = [answer for answer, _ in fallen]
    rest = replace(gate, answers=tuple(answer for answer in gate.answers if answer not in lost))
    if not fallen or (rest.is_settled and gate.answer is Answer.APPROVE):
        return ""
    return "; ".join(f"{answer.person} approved it, and {why}" for answer, why in fallen)


def _text(answer: Answered, why: str) -> str:
    return f"The approval of {answer.person} counts no more: {why}"


def _draft(run: Run, gate: Gate, answer: Answered, text: str) -> Draft:
    return run.draft(
        "gate.lapsed",
        text,
        step=gate.step,
        key=f"gate.lapsed/{run.id}/{gate.step}/{gate.round}/{answer.number}",
        data={"round": gate.round, "person": answer.person},
    )


def _fallen(timeline: Timeline, gate: Gate, side: Side) -> list[tuple[Answered, str]]:
    given = [answer for answer in gate.answers if answer.answer in APPROVALS]
    proved = any(answer.enrolment for answer in given)
    ids = {person: enrolment.id for person, enrolment in responders.roll(timeline).enrolled.items()} if proved else {}
    return [(answer, why) for answer in given if (why := _why(gate, side, answer, ids.get(answer.person, "")))]


def _why(gate: Gate, side: Side, answer: Answered, enrolment: str) -> str:
    if answer.person not in side.policy.people:
        return "policy.yaml names them no more"
    if answer.enrolment and answer.enrolment != enrolment:
        return "the one-time codes with which they did are revoked"
    if answer.breaks_glass:
        glass = side.rules.break_glass
        return "" if glass and answer.person in glass.people else "policy.yaml lets them break the glass no more"
    then = replace(side, now=max(side.now, answer.at))  # a role that was asked in the meantime goes on being asked
    asked = " or ".join(gate.roles(then.now)) or "any role"
    return "" if answer.person in may_decide(gate, then) else f"they do not hold {asked} any more"
