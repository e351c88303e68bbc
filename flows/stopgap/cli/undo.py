"""`stopgap undo`: take back what an ended run did."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import click

from stopgap.cli import asking, examples, starting
from stopgap.incidents import fold
from stopgap.incidents.model import Mode
from stopgap.incidents.open import request_undo
from stopgap.problems import Exit, StopgapError, UsageError
from stopgap.timeline import open as timelines

if TYPE_CHECKING:
    from stopgap.incidents.model import Run, StepRecord
    from stopgap.runbook.model import Runbook

EXAMPLES = examples.lines(
    ("stopgap undo INC-12.1", "take back all that this run did, the last step first"),
    ("stopgap undo INC-12.1 --step scale", "only what this step did"),
)


class CannotUndoError(StopgapError):
    """What this run did cannot be taken back by stopgap."""


@click.command(epilog=EXAMPLES)
@click.argument("run")
@click.option("--step", default="", metavar="STEP", help="Take back only what this step did.")
@click.option(
    "--as", "person", metavar="PERSON", help="Who asks for it (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
)
@click.option("--no-follow", is_flag=True, help="Start it and return at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the new run's id, incident and flow run as JSON and return at once.")
def command(*, run: str, step: str, person: str | None, no_follow: bool, as_json: bool) -> int:
    """Take back what RUN did, which must have ended: a run of its own on the same incident, the last step first.

    Each undo is planned against what is there now. It asks before it lowers capacity, does something risky, or finds another state than RUN left.
    What cannot be undone is named at the end. Needs a running `stopgap up`.

    Exit codes: 0 all is taken back, 1 something is left standing, 4 rejected or expired at a gate.
    """
    from stopgap.engine import server

    with timelines.timeline() as timeline:
        done = fold.find_run(timeline, run)
        require_undoable(done, step)
        _require_same(done)
        server.use_current()
        asked = request_undo(timeline, of=done, step=step, starter=asking.me(person), key=uuid.uuid4().hex)
        asked = starting.hand_over(timeline, asked)
        if as_json:
            shown = {
                "run": asked.id,
                "incident": asked.incident,
                "flow_run": asked.flow_run,
                "link": starting.link(asked),
                "undoes": done.id,
            }
            click.echo(json.dumps(shown))
            return Exit.DONE
        starting.announce(asked)
        return Exit.DONE if no_follow else asking.follow(timeline, asked.incident, asked.id)


def require_undoable(run: Run, step: str) -> None:
    """Raise UsageError or CannotUndoError when there is nothing to take back, or not now."""
    if run.mode is not Mode.LIVE:
        raise UsageError(f"{run.id} is a {'drill' if run.mode is Mode.DRILL else 'dry run'}: it changed nothing.")
    if run.undoes:
        raise UsageError(f"{run.id} took back {run.undoes}. To do that again, start the runbook:  stopgap run {run.runbook}")
    if run.end is None:
        raise CannotUndoError(
            f"{run.id} has not ended. End it first:  stopgap abort {run.id}\nOr, if it waits for an answer:  stopgap reject {run.id} --undo"
        )
    own = {id_: record for id_, record in run.steps.items() if "." not in id_}
    standing = [str(id_) for id_, record in own.items() if _is_standing(record)]
    if step and step not in standing:
        raise UsageError(f'{run.id} left nothing of a step "{step}" to take back. {_listed(standing)}')
    if not standing:
        raise CannotUndoError(f"{run.id} left nothing to take back: no step of it changed anything, or all was taken back already.")


def _is_standing(record: StepRecord) -> bool:
    return record.is_started and not record.undone


def _listed(standing: list[str]) -> str:
    return f"Steps that may be taken back: {', '.join(standing)}." if standing else "Nothing of it is left."


def _require_same(run: Run) -> Runbook:
    """Return the runbook of a run, if it is still the one that the run followed: only that one says what its steps were."""
    found = asking.runbooks_by_name().get(run.runbook)
    if found is None or found.digest != run.digest:
        what = "has changed since" if found else "is gone"
        raise CannotUndoError(
            f"{run.runbook}, which {run.id} followed, {what}, so stopgap cannot tell what its steps were.\n"
            f"Put version {run.digest[:12]} of it back, or take the changes back by hand:  stopgap timeline show {run.id}"
        )
    secrets = [name for name, each in found.parameters.items() if each.secret]
    if secrets:
        raise CannotUndoError(
            f"{run.id} was started with secrets ({', '.join(secrets)}), which the timeline never has.\n"
            f"Take its changes back by hand:  stopgap timeline show {run.id}"
        )
    return found
