"""`stopgap approve`: let the change that a run waits with go on."""

from __future__ import annotations

import click

from stopgap.approvals.model import Answer
from stopgap.cli import deciding, examples

CHOICES = {
    "approve": Answer.APPROVE,
    "within-bounds": Answer.WITHIN,
    "done": Answer.DONE,
    "again": Answer.AGAIN,
    "worked": Answer.WORKED,
    "failed": Answer.FAILED,
}


EXAMPLES = examples.lines(
    ("stopgap approve INC-12", "look at the change, then decide"),
    ("stopgap approve INC-12.1 --as ada --reason 'seen on the graphs'", "as somebody, with the reason"),
    ("stopgap approve INC-12 --answer done", "a step done by hand, or in doubt, is done"),
    ("stopgap approve INC-12 --break-glass --reason 'nobody answers'", "alone, where policy lets you"),
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
@click.option(
    "--break-glass", "breaks_glass", is_flag=True, help="Approve alone, with --reason, when nobody else answers; only whom policy names."
)
@click.option(
    "--answer",
    type=click.Choice(list(CHOICES)),
    default="approve",
    help="For the other questions a run may ask: within-bounds (a change that something keeps moving), done (a step in doubt, or one you did by hand), again (try it again), worked or failed (a drill's outcome).",
)
def command(  # noqa: PLR0913  one an option
    *, run: str, step: str | None, reason: str, person: str | None, yes: bool, code_stdin: bool, breaks_glass: bool, answer: str
) -> int:
    """Show the change that RUN waits with, and approve it.

    RUN is a run (INC-12.1) or an incident with one run (INC-12). The approval is for exactly the change shown. Breaking the glass counts for
    a whole quorum; everybody in policy.yaml is told, and it is marked wherever the decision is shown.

    Exit codes: 0 recorded, 1 refused, 2 not understood.
    """
    return deciding.answer(
        run, CHOICES[answer], person=person, reason=reason, sure=yes, step=step, code_stdin=code_stdin, breaks_glass=breaks_glass
    )
