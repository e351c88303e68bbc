"""A change as people read it: a table and a diff in Markdown for the form, JSON for programs."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stopgap.actions.contract import Change
    from stopgap.plan.model import Plan, PlannedStep

_NARROW = 18  # characters of a value that fits beside another in the form
CHECKED = {
    "server": "the system itself checked it",
    "predicted": "predicted from what stands there now; the system did not check it",
    "unchecked": "nobody could check it",
}

UNDO = {
    "yes": "It can be undone.",
    "no": "It cannot be undone.",
    "depends": "Whether it can be undone depends on what is there.",
}


def table(now: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return a Markdown table: what it is, what it will be; a value that stays the same is marked so.

    Long values stand below each other: the form is narrow, and a column that has to be scrolled for is not seen.
    """
    keys = list(dict.fromkeys([*now, *after]))
    if all(len(_cell(side.get(key))) <= _NARROW for side in (now, after) for key in keys):
        rows = [f"| {_cell(key)} | {_cell(now.get(key))} | {_after(now, after, key)} |" for key in keys]
        return "\n".join(["| | now | after |", "|---|---|---|", *rows])
    pairs = [(f"| {_cell(key)} now | {_cell(now.get(key))} |", f"| {_cell(key)} after | {_after(now, after, key)} |") for key in keys]
    return "\n".join(["| | |", "|---|---|", *(row for pair in pairs for row in pair)])


def _after(now: Mapping[str, Any], after: Mapping[str, Any], key: str) -> str:
    return _cell(after.get(key)) if now.get(key) != after.get(key) else "unchanged"


def diff(now: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return a Markdown diff block of both sides, one line a value; empty when nothing changes."""
    lines = diff_lines(now, after)
    return "\n".join(["```diff", *lines, "```"]) if lines else ""


def diff_lines(now: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the lines of a diff of both sides, each with its sign in front; empty when nothing changes."""
    lines = list(difflib.unified_diff(_lines(now), _lines(after), lineterm="", n=2))[2:]
    return tuple(line for line in lines if not line.startswith("@@"))


def moved(differences: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table of what moved between two questions; empty when nothing did."""
    rows = [f"| {text(str(each['what']))} | {_cell(each['was'])} | {_cell(each['is'])} |" for each in differences]
    return "\n".join(["| | when it was approved | now |", "|---|---|---|", *rows]) if rows else ""


def change(planned: Change) -> str:
    """Return the whole change in Markdown: sentence, table, diff, who checked it, what to know."""
    if planned.is_empty:
        parts = [f"**{text(planned.summary)}**", "Nothing would change."]
    else:
        parts = [f"**{text(planned.summary)}**", table(planned.now, planned.after), diff(planned.now, planned.after)]
    parts += [f"Note: {text(note)}" for note in planned.notes]
    parts.append(f"Checked: {CHECKED[planned.checked]}.")
    return "\n\n".join(part for part in parts if part)


def as_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON: `{runbook, parameters, steps: [{id, uses, change: {now, after, ...} | null, refused, not_planned, asks, members, ...}]}`."""
    return {"runbook": plan.runbook, "parameters": dict(plan.parameters), "steps": [_step(step) for step in plan.steps]}


def _step(step: PlannedStep) -> dict[str, Any]:
    names = ("id", "name", "uses", "effect", "undoes", "when", "not_planned", "refused", "verify", "at_a_time")
    return {
        **{name: getattr(step, name) for name in names},
        "arguments": dict(step.arguments),
        "targets": sorted(step.targets),
        "asks": asdict(step.asks) if step.asks else None,
        "change": step.change.to_json() if step.change else None,
        "members": [_step(member) for member in step.members],
    }


def _lines(side: Mapping[str, Any]) -> list[str]:
    return [f"{key}: {_value(value)}".replace("\n", "\\n").replace("`", "'") for key, value in side.items()]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _cell(value: Any) -> str:
    if value is None:
        return "(none)"
    shown = _value(value).replace("`", "'").replace("|", "\\|").replace("\n", " ")
    return f"`{shown}`"


def text(words: str) -> str:
    """Return words of other systems for Markdown."""
    # What systems report is shown, never interpreted: no markup of theirs may draw a button or a link in the form.
    for sign in "\\`*_[]<>|":
        words = words.replace(sign, f"\\{sign}")
    return words.replace("\n", " ")
