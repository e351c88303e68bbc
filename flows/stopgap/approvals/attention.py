"""What an open question calls for as time goes by: reminders at half time and at nine tenths, and the next role.

All of it is computed from when the question was asked, so that nothing sleeps and nothing is lost when a process dies. Each is an entry with
a key of its own: of several who find it due, one writes it. Who may decide does not hang on these entries.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from stopgap.approvals import gate as gates
from stopgap.clock import format_duration

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from stopgap.approvals.model import Gate
    from stopgap.clock import Clock
    from stopgap.incidents.model import Run
    from stopgap.timeline.entry import Draft, Timeline

MARKS = {"half": Fraction(1, 2), "nine-tenths": Fraction(9, 10)}  # of the time that a question stays open


def pay(timeline: Timeline, clock: Clock, run: Run) -> None:
    """Write down, once each, the reminders and escalations that the question a run waits with calls for by now."""
    gate = gates.waiting(timeline.of_run(run.id))
    now = clock.now()
    if run.end is None and gate and now < gate.expires_at:
        for draft in (*_escalations(run, gate, now), *_reminder(run, gate, now)):
            if timeline.find(draft.key) is None:
                timeline.append(draft)


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


def _reminder(run: Run, gate: Gate, now: datetime) -> list[Draft]:
    """Return the newest reminder that is due; one that was slept through is not made up for."""
    due = [name for name, part in MARKS.items() if now >= gate.asked_at + _part(gate.expires, part)]
    if not due:
        return []
    left = format_duration(gate.expires_at - gate.asked_at - _part(gate.expires, MARKS[due[-1]]))
    needed = "" if gate.approvers == 1 else f" {gate.still_needed} more must approve."
    text = f"{gate.step} still waits for {' or '.join(gate.roles(now)) or 'somebody'}: {left} left, then it expires.{needed}"
    key = f"gate.reminded/{run.id}/{gate.step}/{gate.round}/{due[-1]}"
    return [run.draft("gate.reminded", text, step=gate.step, key=key, data={"round": gate.round, "mark": due[-1]})]


def _part(whole: timedelta, part: Fraction) -> timedelta:
    return whole * part.numerator / part.denominator
