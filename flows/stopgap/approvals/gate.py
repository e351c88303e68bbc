"""A gate's life on the timeline: asked, answered, voided, expired. Folded from entries, kept nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stopgap.approvals.model import Answer, Answered, Gate, Question, bind
from stopgap.clock import format_duration, parse_duration
from stopgap.incidents.model import RunId
from stopgap.policy.model import Escalation, PersonId, RoleName
from stopgap.runbook.model import StepId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from stopgap.incidents.model import Run
    from stopgap.runbook.model import ApprovalRequest
    from stopgap.timeline.entry import Entry, Timeline


def ask(  # noqa: PLR0913  each is a part of the question, all by keyword
    timeline: Timeline,
    run: Run,
    *,
    step: StepId,
    question: Question,
    request: ApprovalRequest,
    expires: timedelta,
    asks: Mapping[str, Any],
    text: str,
    allow_self: bool,
    chain: Sequence[Escalation] = (),
) -> Gate:
    """Ask in a new round; of two who ask at once one wins and both get that gate. `chain` is whom to ask later, unless `request` says."""
    last = latest(timeline.of_run(run.id), step)
    number = last.round + 1 if last else 1
    later = [request.escalate] if request.escalate else chain
    draft = run.draft(
        step=step,
        kind="gate.asked",
        actor="stopgap",
        key=f"gate.asked/{run.id}/{step}/{number}",
        text=text,
        data={
            "round": number,
            "question": str(question),
            "digest": bind(run=run.id, step=step, round=number, asks=asks),
            "by": list(request.by),
            "approvers": request.approvers,
            "expires": format_duration(expires),
            "escalate": [{"after": format_duration(each.after), "to": each.to} for each in later if each.to not in request.by],
            "starter": run.starter,
            "allow_self": allow_self,
            "asks": dict(asks),
        },
    )
    return _asked(timeline.append(draft).entry)


def every(entries: Iterable[Entry]) -> tuple[Gate, ...]:
    """Return every gate of a run as it is now, each round by itself, in the order in which they were asked."""
    found: dict[tuple[str, int], Gate] = {}
    for entry in entries:
        if entry.kind == "gate.asked":
            found[entry.step, entry.data["round"]] = _asked(entry)
        elif entry.kind in _KINDS and (place := (entry.step, entry.data.get("round", 0))) in found:
            found[place] = _answered(found[place], entry)
    return tuple(found.values())


def rounds(entries: Iterable[Entry], step: StepId, *, question: Question | None = None) -> tuple[Gate, ...]:
    """Return the rounds of a step's gate, or of those that asked `question`, the first first."""
    return tuple(gate for gate in every(entries) if gate.step == step and question in {None, gate.question})


def latest(entries: Iterable[Entry], step: StepId, *, question: Question | None = None) -> Gate | None:
    """Return the newest round of a step's gate, or of those that asked `question`; None when it never asked."""
    return next(reversed(rounds(entries, step, question=question)), None)


def waiting(entries: Iterable[Entry]) -> Gate | None:
    """Return the gate a run waits at, if it waits at one; a run asks one question at a time."""
    return open_one(every(entries))


def open_one(asked: Iterable[Gate]) -> Gate | None:
    """Return the gate that still waits, of all that were asked."""
    newest = {gate.step: gate for gate in asked}
    return max((gate for gate in newest.values() if gate.is_open), key=lambda gate: gate.asked_at, default=None)


_SHOWN = 4  # refusals before the newest that a form shows; somebody may guess a thousand times
_KINDS = frozenset({"gate.answered", "gate.withdrawn", "gate.lapsed", "gate.refused", "gate.decided", "gate.voided", "gate.expired"})


def _asked(entry: Entry) -> Gate:
    data = entry.data
    return Gate(
        run=RunId(entry.run),
        step=StepId(entry.step),
        round=data["round"],
        question=Question(data["question"]),
        digest=data["digest"],
        by=tuple(map(RoleName, data["by"])),
        approvers=data["approvers"],
        expires=parse_duration(data["expires"]),
        asked_at=entry.at,
        starter=data["starter"],
        allow_self=data["allow_self"],
        asks=data["asks"],
        escalate=tuple(Escalation(after=parse_duration(each["after"]), to=RoleName(each["to"])) for each in data.get("escalate", ())),
    )


def _answered(gate: Gate, entry: Entry) -> Gate:
    if entry.kind == "gate.answered":
        data = entry.data
        answer = Answered(
            person=PersonId(entry.actor),
            answer=Answer(data["answer"]),
            reason=data["reason"],
            at=entry.at,
            number=entry.number,
            enrolment=data.get("enrolment", ""),
            standing=data.get("standing", ""),
            breaks_glass=data.get("break_glass", False),
        )
        return replace(gate, answers=(*gate.answers, answer), newest=entry.text) if gate.is_open else gate
    if entry.kind in {"gate.withdrawn", "gate.lapsed"}:
        return _without(gate, entry) if gate.is_open and not gate.is_settled else gate
    if entry.kind == "gate.refused":
        return replace(gate, refused=(*gate.refused[-_SHOWN:], entry.text), newest=entry.text)
    if entry.kind == "gate.voided":
        return replace(gate, voided=True)
    return replace(gate, decided=gate.decided or entry)


def _without(gate: Gate, entry: Entry) -> Gate:
    """Take somebody's approval out. Once the quorum is full the decision has been made, whether it was written down yet or not."""
    lapsed = entry.kind == "gate.lapsed"
    rest = tuple(each for each in gate.answers if each.person != (entry.data["person"] if lapsed else entry.actor))
    return replace(gate, answers=rest, newest=entry.text, lapsed=(*gate.lapsed, entry.text) if lapsed else gate.lapsed)
