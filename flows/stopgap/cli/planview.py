"""A plan for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from stopgap.cli.paper import Console
from stopgap.plan import explain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.plan.model import Plan, PlannedStep


def show(plan: Plan) -> None:
    """Print each step with what it would change; colours for a person, plain lines for a pipe."""
    console = Console(wraps=False)
    console.print(f"[bold]{escape(plan.runbook)}[/bold]: what a run would change now. Nothing has been changed.")
    for number, step in enumerate(plan.steps, start=1):
        console.print(f"\n[bold]{number}. {escape(step.name)}[/bold]  {step.id}: {step.uses}")
        for line in _lines(step):
            console.print(f"   {line}")
        for member in step.members:
            console.print(f"   - [bold]{escape(member.name)}[/bold]  {escape(member.id)}: {member.uses}")
            for line in _lines(member):
                console.print(f"     {line}")


def _lines(step: PlannedStep) -> Iterator[str]:
    if step.when:
        yield f"only when {escape(step.when)}"
    if step.members:
        yield f"{len(step.members)}, {_at_a_time(step)}; all are planned first, and asked about in one question"
    if step.refused:
        yield f"[red]cannot run:[/red] {escape(step.refused)}"
    if step.not_planned:
        yield f"[yellow]not planned:[/yellow] {escape(step.not_planned)}"
    if step.change:
        yield escape(step.change.summary)
        yield from _sides(step)
        yield from (f"note: {escape(note)}" for note in step.change.notes)
        yield f"checked: {explain.CHECKED[step.change.checked]}"
    if step.effect == "changes" and step.undoes != "yes":
        yield f"[yellow]{explain.UNDO[step.undoes]}[/yellow]"
    if step.asks:
        who = ", ".join(step.asks.people) or "nobody holds that role"
        yield f"[yellow]asks[/yellow] {' or '.join(step.asks.roles)} ({who}), {step.asks.approvers} must approve: {escape(step.asks.why)}"
    if step.verify:
        yield f"then verifies with {step.verify}: not checked here"


def _at_a_time(step: PlannedStep) -> str:
    most = min(step.at_a_time, len(step.members))
    return "one after the other, until one fails" if most == 1 else f"{most} at a time"


def _sides(step: PlannedStep) -> Iterator[str]:
    change = step.change
    if change is None or change.is_empty:
        return
    for key in dict.fromkeys([*change.now, *change.after]):
        now, after = change.now.get(key), change.after.get(key)
        if now != after:
            yield f"  {escape(f'{key}: {now} -> {after}')}"
