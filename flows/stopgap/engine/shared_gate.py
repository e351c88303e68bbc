"""One question about several members: what each would change, and one decision for exactly that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap.actions.contract import Change
from stopgap.approvals.model import Answer, Question
from stopgap.engine import hiding, questions
from stopgap.plan import explain, together
from stopgap.runbook.model import ApprovalRequest, Escalation, StepId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stopgap.actions.contract import Action
    from stopgap.approvals.model import Gate
    from stopgap.engine.stage import Part
    from stopgap.engine.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A member that is planned and has not started; `request` is the gate it needs for its change, with the reason."""

    part: Part
    action: Action
    change: Change
    request: tuple[ApprovalRequest, str] | None


def may_go(work: Work, whole: Part, ready: Sequence[Ready], gate: Gate | None) -> bool:
    """Say whether these members may start as they are planned; otherwise put the question about them on the timeline.

    `gate` is the newest question about them, if there was one: answered with an approval, or void.
    """
    if gate is None:
        if not any(each.request for each in ready):
            return True
    elif not gate.voided and all(_is_covered(each, gate) for each in ready):
        return True
    _ask(work, whole, ready, before=gate)
    return False


def _is_covered(ready: Ready, gate: Gate) -> bool:
    asked = questions.digest_asked(gate, ready.part)
    return ready.request is None if asked is None else asked == ready.change.digest


def _ask(work: Work, whole: Part, ready: Sequence[Ready], *, before: Gate | None) -> None:
    shown = [each for each in ready if each.request or each.action.effect == "changes"]
    change = together.change({each.part.step.id: each.change for each in shown})
    requests = [each.request[0] for each in ready if each.request] + ([_request_of(before)] if before else [])
    asks: dict[str, Any] = {
        "why": "; ".join(dict.fromkeys(each.request[1] for each in ready if each.request)) or str(before.asks["why"] if before else ""),
        "uses": whole.uses,
        "digest": change.digest,
        "undoes": together.undoes(each.action.undoes for each in shown),
        "change": _shown(change),
        "members": [_member(each) for each in shown],
    }
    if before and before.answer is Answer.APPROVE:
        asks["differs"] = _difference(work, before, shown)
        questions.void(work, whole, before)
    questions.put(
        work,
        whole,
        Question.APPROVE,
        together.request(requests),
        asks,
        f"{whole.step.name}: may this be done? {change.summary}",
        expires=questions.time_left(work, before),
    )


def _request_of(gate: Gate) -> ApprovalRequest:
    """What was asked about once is asked about again in the same way, even if by now it would not be asked at all."""
    escalate = Escalation(after=gate.escalate_after, to=gate.escalate_to) if gate.escalate_after and gate.escalate_to else None
    return ApprovalRequest(by=gate.by, approvers=gate.approvers, escalate=escalate)


def _member(ready: Ready) -> dict[str, Any]:
    step, action = ready.part.step, ready.action
    return {
        "step": step.id,
        "name": step.name,
        "uses": action.name,
        "undoes": action.undoes,
        "digest": ready.change.digest,
        "change": _shown(ready.change),
    }


def _shown(change: Change) -> dict[str, Any]:
    return {name: value for name, value in change.to_json().items() if name not in {"precondition", "undo"}}


def _difference(work: Work, before: Gate, shown: Sequence[Ready]) -> str:
    """Return the difference between what was asked about these members and what is asked now."""
    names = {each.part.step.id for each in shown}
    old = {StepId(each["step"]): Change.from_json(each["change"]) for each in before.asks["members"] if each["step"] in names}
    new = {each.part.step.id: Change.from_json(hiding.hidden(work.secrets, _shown(each.change))) for each in shown}
    return explain.diff(_sides(old), _sides(new))


def _sides(changes: Mapping[StepId, Change]) -> dict[str, Any]:
    change = together.change(changes)
    return {"now": change.now, "after": change.after}
