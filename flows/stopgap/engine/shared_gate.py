"""One question about several members: what each would change, and one decision for exactly that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap.actions.contract import Change
from stopgap.approvals import bounds, difference
from stopgap.approvals import gate as gates
from stopgap.approvals.model import APPROVALS, Question
from stopgap.engine import questions
from stopgap.plan import together
from stopgap.runbook.model import ApprovalRequest, StepId

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
    elif not gate.voided and all(_is_covered(work, each, gate) for each in ready) and not questions.fallen(work, gate):
        return True
    _ask(work, whole, ready, before=gate)
    return False


def _is_covered(work: Work, ready: Ready, gate: Gate) -> bool:
    asked = questions.of_member(gate, ready.part)
    return questions.covers(work, asked, ready.action, ready.change) if asked else ready.request is None


def _ask(work: Work, whole: Part, ready: Sequence[Ready], *, before: Gate | None) -> None:
    shown = [each for each in ready if each.request or each.action.effect == "changes"]
    members = [_member(work, each) for each in shown]
    change = together.change({StepId(each["step"]): Change.from_json(each["change"]) for each in members})
    requests = [each.request[0] for each in ready if each.request] + ([_request_of(before)] if before else [])
    asks: dict[str, Any] = {
        "why": "; ".join(dict.fromkeys(each.request[1] for each in ready if each.request)) or str(before.asks["why"] if before else ""),
        "uses": whole.uses,
        "targets": sorted({target for each in members for target in each["targets"]}),
        "digest": change.digest,
        "undoes": together.undoes(each["undoes"] for each in members),
        "change": {name: value for name, value in change.to_json().items() if name not in {"precondition", "undo"}},
        "members": members,
    }
    if before and before.answer in APPROVALS:
        asks |= _since(work, whole, members, before)
    request = together.request(requests)
    text = f"{whole.step.name}: may this be done? {change.summary}"
    questions.put(work, whole, Question.APPROVE, request, asks, text, expires=questions.time_left(work, before))


def _since(work: Work, whole: Part, members: Sequence[dict[str, Any]], before: Gate) -> dict[str, Any]:
    """Take back the approval that no longer fits all of these; return what moved, and after two of these the bounds that each member is offered."""
    added: dict[str, Any] = {
        **questions.void(work, whole, before),
        "differs": [moved for each in members for moved in _moved(before, each)],
    }
    rounds = gates.rounds(work.entries(), whole.step.id, question=Question.APPROVE)
    if sum(each.voided for each in rounds) >= bounds.VOIDS:
        for each in members:
            alike = [asked["change"] for gate in rounds if (asked := _asked(gate, each)) and asked["arguments"] == each["arguments"]]
            each["bounds"] = bounds.offer([*alike, each["change"]])
        added["bounds"] = {f"{each['step']} {key}": limits for each in members for key, limits in each["bounds"].items()}
    return added


def _moved(before: Gate, member: Mapping[str, Any]) -> list[dict[str, Any]]:
    asked = _asked(before, member)
    found = difference.between(asked, member) if asked else []
    return [{**each, "what": f"{member['step']} {each['what']}"} for each in found]


def _asked(gate: Gate, member: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((each for each in gate.asks["members"] if each["step"] == member["step"]), None)


def _member(work: Work, ready: Ready) -> dict[str, Any]:
    step = ready.part.step
    return {"step": step.id, "name": work.secrets.text(step.name), **questions.what(work, ready.action, ready.change)}


def _request_of(gate: Gate) -> ApprovalRequest:
    """What was asked about once is asked about again in the same way, even if by now it would not be asked at all."""
    escalate = gate.escalate[0] if len(gate.escalate) == 1 else None  # several are policy's, and it says them again
    return ApprovalRequest(by=gate.by, approvers=gate.approvers, escalate=escalate)
