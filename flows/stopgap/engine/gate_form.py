"""The gate as the Prefect UI shows it: a description in Markdown and a form whose answer is bound to this one question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from prefect.input import RunInput
from pydantic import Field, create_model

from stopgap.actions.contract import Change
from stopgap.approvals import bounds, entitled, lapse
from stopgap.approvals.model import Answer, Gate, Question
from stopgap.clock import format_duration
from stopgap.incidents.model import Mode
from stopgap.plan import explain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from stopgap.engine.stage import Part
    from stopgap.engine.work import Work

_CODE: dict[str, Any] = {
    "code": (
        str,
        Field(
            title="One-time code",
            description="The six digits that your app shows now; each counts once. Not enrolled yet?  stopgap responder enrol",
            pattern=r"^[0-9]{6}$",
        ),
    )
}


def build(work: Work, part: Part, gate: Gate) -> type[RunInput]:
    """Return the form for a gate. The server refuses an answer to any other question: the digest is a list of one."""
    answers = tuple(map(str, gate.allowed))
    fields: dict[str, Any] = {
        "decision": (Literal[answers], Field(title="Decision")),
        "change": (
            Annotated[str, Field(json_schema_extra={"enum": [gate.digest]}, pattern=f"^{gate.digest}$")],
            Field(title="This change", description="Ties the answer to what is shown above; there is only this one to pick."),
        ),
        "name": (str, Field(title="Your id in policy.yaml", min_length=1, max_length=100)),
        **(_CODE if work.policy.approvals.require_code else {}),
        "reason": (str, Field(default="", title="Reason", max_length=2000)),
    }
    form = create_model("Decision", __base__=RunInput, **fields)
    return form.with_initial_data(description=describe(work, part, gate))


def describe(work: Work, part: Part, gate: Gate) -> str:
    """Return what the incident commander reads: what is asked and why, the change as table and diff, who may decide, until when."""
    run = work.run()
    gate = lapse.seen(work.timeline, gate, _side(work, work.clock.now()))
    parts = [
        "# DRILL: nothing will be changed" if work.mode is Mode.DRILL else "",
        f"## {explain.text(part.step.name)}",
        f"> {explain.text(gate.newest)}" if gate.newest else "",  # on top: the form shows little without scrolling
        f"{run.incident} · {explain.text(work.runbook.title)} · step `{part.step.id}` · round {gate.round}",
        *_question(gate),
        f"**Who may decide:** {_who(work, gate, work.clock.now())}",
        *(f"> {explain.text(lost)}" for lost in gate.lapsed if lost != gate.newest),
        f"**Until:** {gate.expires_at:%Y-%m-%d %H:%M:%S} UTC ({format_duration(gate.expires)} after it was asked); then it counts as expired.",
        *(f"> {explain.text(refusal)}" for refusal in gate.refused[-5:] if refusal != gate.newest),
    ]
    return "\n\n".join(part for part in parts if part)


def _question(gate: Gate) -> list[str]:
    asks = gate.asks
    if gate.question is not Question.APPROVE:
        return [explain.text(str(asks["why"])), *(explain.text(note) for note in asks.get("notes", ()))]
    if asks.get("members"):
        return [*_again(gate), *_members(asks)]
    return [*_again(gate), *_change(asks, f"Action `{asks['uses']}`, asked because {explain.text(asks['why'])}.")]


def _change(asks: Mapping[str, Any], action: str) -> list[str]:
    where = ", ".join(f"`{each}`" for each in asks.get("targets", ()))
    return [
        f"**Where:** {where}" if where else "",
        explain.change(Change.from_json(asks["change"])),
        f"{action} {explain.UNDO[asks['undoes']]}",
    ]


def _members(asks: Mapping[str, Any]) -> list[str]:
    """One decision is for all of these, and for nothing else."""
    members = asks["members"]
    count = f"{len(members)} changes, one decision for all of them" if len(members) > 1 else "One change"
    parts = [f"**{count}**, asked because {explain.text(asks['why'])}."]
    for each in members:
        parts += [f"### {explain.text(each['name'])}", *_change(each, f"Step `{each['step']}`, action `{each['uses']}`.")]
    return parts


def _again(gate: Gate) -> list[str]:
    """Say what moved since the question before, and which bounds are offered."""
    if "differs" not in gate.asks:
        return []
    lost, moved = gate.asks.get("lapsed", ""), explain.moved(gate.asks["differs"])
    if lost:
        parts = [f"**Asked again: the approval is void, and nothing of it was done.** {explain.text(lost[0].upper() + lost[1:])}."]
        parts += [f"What has moved since:\n\n{moved}"] if moved else []
    else:
        parts = ["**Asked again: it is no longer what was approved, and nothing of it was done.** What has moved since:"]
        parts.append(moved or "Nothing by now, but the approval is gone.")
    if gate.bounds:
        parts.append(
            f"Something keeps moving it. **{Answer.WITHIN.capitalize()}** allows this change also while: {explain.text(bounds.text(gate.bounds))}. "
            "Everything else stays as shown."
        )
    return parts


def _who(work: Work, gate: Gate, now: datetime) -> str:
    people = _named(work, gate, now)
    names = ", ".join(people) or "nobody: policy names no one who may"
    for later in gate.escalate:
        at = gate.asked_at + later.after
        added = [each for each in _named(work, gate, at) if each not in people]
        people += added
        names += f"; from {at:%H:%M:%S} UTC on also {', '.join(added)}" if added else ""
    if gate.approvers == 1:
        return names
    have = ", ".join(answer.who for answer in gate.answers) or "nobody yet"
    return f"{names}. {gate.approvers} different people must approve; so far: {have}. Still needed: {gate.still_needed}."


def _named(work: Work, gate: Gate, now: datetime) -> list[str]:
    people = [person for person in entitled.may_decide(gate, _side(work, now)) if person not in gate.approved_by]
    return [f"{work.policy.people[person].name} (`{person}`)" for person in people]


def _side(work: Work, now: datetime) -> entitled.Side:
    return entitled.Side.of(work.policy, work.timeline.of_chain(work.run().incident), now=now)
