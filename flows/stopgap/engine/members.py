"""The steps of a run as they are carried out: a group's members, and those of a list once the run has read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.plan import members, prepare
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run
    from stopgap.runbook.model import Step


class SecretListError(StopgapError):
    """A list is written on the timeline, which secrets never reach."""


def of_run(steps: Iterable[Step], run: Run) -> tuple[Step, ...]:
    """Return what is carried out for these steps, as far as the run knows; a list nobody has read yet stands for itself."""
    return tuple(member for step in steps for member in of_step(step, run) or (step,))


def of_step(step: Step, run: Run) -> tuple[Step, ...]:
    """Return the members of a step; empty for a plain one, and for a list that nobody has read yet."""
    record = run.steps.get(step.id)
    return members.of_group(step) if step.parallel else members.of_list(step, record.entries or () if record else ())


def known(work: Work, step: Step) -> tuple[Step, ...]:
    """Return what is or will be carried out for a step as far as anybody can tell now; nothing is written."""
    run = work.run()
    record = run.steps.get(step.id)
    if step.for_each is None or (record and record.entries is not None):
        return of_run([step], run)
    ended = {str(each.id) for each in run.steps.values() if each.status}
    if prepare.open_steps(step.for_each.items, ended):
        return ()
    return members.of_list(step, members.entries(step, work.names()))


def read(work: Work, step: Step) -> tuple[Step, ...]:
    """Return the members of a step that is reached. A list is read once; the run keeps to what the journal says it was."""
    if step.for_each is None:
        return members.of_group(step)
    record = work.record(step.id)
    return members.of_list(step, _listed(work, step) if record.entries is None else record.entries)


def _listed(work: Work, step: Step) -> tuple[Any, ...]:
    found = list(members.entries(step, work.names()))
    if work.secrets.json(found) != found:
        raise SecretListError(
            f'The for_each of step "{step.id}" gives the value of a secret parameter, and a list is written on the timeline.\n'
            "Use the secret in the step's with instead."
        )
    text = f"{step.name}: {len(found)} {'entry' if len(found) == 1 else 'entries'}"
    entry = work.write("step.listed", text, step=step.id, key=f"step.listed/{work.id}/{step.id}", entries=found)
    return tuple(entry.data["entries"])
