"""`stopgap reject`: do not let the change that a run waits with happen."""

from __future__ import annotations

import click

from stopgap.approvals.model import Answer
from stopgap.cli import deciding, examples

EXAMPLES = examples.lines(
    ("stopgap reject INC-12", "stop the run; what was done stays"),
    ("stopgap reject INC-12 --skip", "leave this step out and go on"),
    ("stopgap reject INC-12 --undo", "stop the run and take back what it did"),
)


@click.command(epilog=EXAMPLES)
@click.argument("run")
@click.option("--step", help="The step you mean; refused when the run waits at another.")
@click.option("--reason", default="", help="Why; it stands on the timeline.")
@click.option(
    "--as", "person", metavar="PERSON", help="Who decides (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
)
@click.option("--yes", is_flag=True, help="Do not ask back.")
@click.option("--code-stdin", is_flag=True, help="Read the one-time code from standard input, for scripts; otherwise it is asked for.")
@click.option("--skip", is_flag=True, help="Skip this step only; the run goes on with the next.")
@click.option("--undo", is_flag=True, help="Stop the run and take back what it has done.")
def command(*, run: str, step: str | None, reason: str, person: str | None, yes: bool, code_stdin: bool, skip: bool, undo: bool) -> int:  # noqa: PLR0913  one an option
    """Show the change that RUN waits with, and reject it; the run stops unless --skip.

    Exit codes: 0 recorded, 1 refused, 2 not understood.
    """
    if skip and undo:
        raise click.UsageError("--skip goes on and --undo stops: choose one.")
    wanted = Answer.SKIP if skip else Answer.UNDO if undo else Answer.STOP
    return deciding.answer(run, wanted, person=person, reason=reason, sure=yes, step=step, code_stdin=code_stdin)
