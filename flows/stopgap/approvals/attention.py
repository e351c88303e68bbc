"""What an open question calls for as time goes by: reminders at half time and at nine tenths, and the next role.

All of it is computed from when the question was asked, so that nothing sleeps and nothing is lost when a process dies. Each is an entry with
a key of its own: of several who find it due, one writes it. Who may decide does not hang on these entries.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from stopgap.approvals import gate as gates
from stopgap.approvals import lapse
from stopgap.approvals.entitled import Side
from stopgap.clock import format_duration

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from stopgap.approvals.model import Gate
    from stopgap.clock import Clock
    from stopgap.incidents.model import Run
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Draft, Timeline

MARKS = {"half": Fraction(1, 2), "nine-tenths": Fraction(9, 10)}  # of the time that a question stays open


def pay(timeline: Timeline, policy: Policy | None, clock: Clock, run: Run) -> None:
    """Write down, once each, the reminders and escalations that the question a run waits with calls for by now.

    A reminder says how many approvals are missing as policy would judge them now; without a policy, as they were given.
    """
    gate = gates.waiting(timeline.of_run(run.id))
    now = clock.now()
    if run.end is not None or gate is None or now >= gate.expires_at:
        return
    for draft in _escalations(run, gate, now):
        if timeline.find(draft.key) is None:
            timeline.append(draft)
    mark = _newest_mark(gate, now)
    key = f"gate.reminded/{run.id}/{gate.step}/{gate.round}/{mark}"
    if mark and timeline.find(key) is None:
        judged = lapse.seen(timeline, gate, Side.of(policy, timeline.of_chain(run.incident), now=now)) if policy else gate
        timeline.append(_reminder(run, judged, mark, key, now))


def _escalations(run: Run, gate: Gate, now: datetime) -> list[Draft]:
    due = [(number, each) for number, each in enumerate(gate.escalate, start=1) if now >= gate.asked_at + each.after]
    return [
        run.draft(
            "gate.escalated",
            f"Nobody decided about {gate.step} within {format_duration(each.after)}: {each.to} may decide as well",
            step=gate.step,
            key=f"gate.escalated/{run.id}/{gate.step}/{gate.round}/{number}",
            data={"round": gate.round, "to": each.to},
        )
        for number, each in due
    ]


def _newest_mark(gate: Gate, now: datetime) -> str:
    """Return the newest mark whose reminder is due, or nothing; one that was slept through is not made up for."""
    due = [name for name, part in MARKS.items() if now >= gate.asked_at + _part(gate.expires, part)]
    return due[-1] if due else ""


def _reminder(run: Run, gate: Gate, mark: str, key: str, now: datetime) -> Draft:
    left = format_duration(gate.expires_at - gate.asked_at - _part(gate.expires, MARKS[mark]))
    needed = "" if gate.approvers == 1 else f" {gate.still_needed} more must approve."
    text = f"{gate.step} still waits for {' or '.join(gate.roles(now)) or 'somebody'}: {left} left, then it expires.{needed}"
    return run.draft("gate.reminded", text, step=gate.step, key=key, data={"round": gate.round, "mark": mark})


def _part(whole: timedelta, part: Fraction) -> timedelta:
    return whole * part.numerator / part.denominator
