"""A runbook that a step of another one runs: finding it, refusing what cannot be, and showing what it would change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap import home
from stopgap.actions import nested
from stopgap.actions.contract import Change, PermanentError
from stopgap.plan import parameters
from stopgap.policy import load as policies
from stopgap.problems import ProblemsError
from stopgap.runbook import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from stopgap.plan.model import Plan, PlannedStep
    from stopgap.runbook.model import Runbook, Step

DEEPEST = 5  # runs within runs; a person at three in the morning follows no more


@dataclass(frozen=True, slots=True)
class Previews:
    """What runs of other runbooks would change, for the steps of `runbook`. `above` are the runbooks by whose steps it runs itself."""

    runbook: Runbook
    above: tuple[str, ...]
    plan: Callable[[Runbook, Mapping[str, Any], tuple[str, ...]], Plan]

    def __call__(self, name: str, given: Mapping[str, Any]) -> Change:
        """Plan a run of the runbook called `name`; PermanentError when there can be none."""
        above = (*self.above, self.runbook.name)
        found = find(self.runbook, name, above=above)
        values = parameters.check(found, given)
        planned = self.plan(found, values, above)
        return Change(
            summary=f"run {name}: {found.title} ({len(found.steps)} steps)",
            now={"runbook": "not asked for", "version": "", "parameters": {}},
            after={"runbook": name, "version": found.digest[:12], "parameters": values},
            checked="predicted",
            notes=("it has gates and a timeline of its own, and is taken back by its own undo", *_lines(planned)),
        )


def find(parent: Runbook, name: str, *, above: tuple[str, ...] = ()) -> Runbook:
    """Return the runbook that a step of `parent` names; PermanentError when it, or one that it runs itself, is not there or may not run there."""
    policy = policies.find(parent.path.parent)
    folder = policy.parent if policy else home.runbooks_folder()
    likely = [path for path in load.files(folder) if f"name: {name}" in path.read_text(errors="replace")]
    found = next((each for path in likely if (each := _sound(path)) and each.name == name), None)
    if found is None:
        raise PermanentError(f'There is no runbook "{name}" without mistakes in {folder}. See  stopgap lint {folder}')
    if name in {parent.name, *above}:
        above = above if name in above else (name,)
        raise PermanentError(f"{name} would run itself: {' > '.join([*above[above.index(name) :], name])}.")
    if len(above) >= DEEPEST:
        raise PermanentError(f"{name} would be run {len(above)} runbooks deep: {' > '.join([*above, name])}. The deepest is {DEEPEST}.")
    if found.archived:
        raise PermanentError(f"Runbook {name} is archived and never runs.")
    for inner in named(found.steps):
        find(found, inner, above=(*above, name))
    secret = [each.name for each in found.parameters.values() if each.secret]
    if secret:
        raise PermanentError(f"{name} has the secret parameter {secret[0]}, which no step can hand on: it would stand on the timeline.")
    return found


def named(steps: Iterable[Step]) -> Iterator[str]:
    """Yield the names of the runbooks that these steps run; lint has seen that their names are written out."""
    for step in steps:
        yield from named(step.parallel)
        if step.call and step.call.uses == nested.RUN:
            yield str(step.call.arguments.get("runbook"))


def _sound(path: Path) -> Runbook | None:
    try:
        return load.load(path)
    except ProblemsError:
        return None


def _lines(planned: Plan) -> Iterator[str]:
    for number, step in enumerate(planned.steps, start=1):
        yield f"{number}. {step.name}: {_line(step)}"
        yield from (f"{number}. {member.name}: {_line(member)}" for member in step.members)
        if step.change and step.uses == nested.RUN:
            yield from (f"{number}.{note}" for note in step.change.notes[1:])


def _line(step: PlannedStep) -> str:
    what = f"cannot run as things are: {step.refused}" if step.refused else step.not_planned
    what = what or (step.change.summary if step.change else f"{len(step.members)} at once")
    when = f"only when {step.when}: " if step.when else ""
    return when + what + (f"; asks {' or '.join(step.asks.roles)}" if step.asks else "")
