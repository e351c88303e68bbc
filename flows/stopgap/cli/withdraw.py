"""`stopgap withdraw`: take an approval back before there are enough."""

from __future__ import annotations

import click

from stopgap.approvals.model import Answer
from stopgap.cli import deciding, examples

EXAMPLES = examples.lines(("stopgap withdraw INC-12 --as ada --reason 'the graphs say otherwise'", "your approval no longer counts"))


@click.command(epilog=EXAMPLES)
@click.argument("run")
@click.option("--step", help="The step you mean; refused when the run waits at another.")
@click.option("--reason", default="", help="Why; it stands on the timeline.")
@click.option(
    "--as", "person", metavar="PERSON", help="Who withdraws (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
)
@click.option("--yes", is_flag=True, help="Do not ask back.")
@click.option("--code-stdin", is_flag=True, help="Read the one-time code from standard input, for scripts; otherwise it is asked for.")
def command(*, run: str, step: str | None, reason: str, person: str | None, yes: bool, code_stdin: bool) -> int:  # noqa: PLR0913  one an option
    """Take back your approval of the change that RUN waits with, while others must still approve it.

    Once enough have approved it is too late. To stop the run, which one person can:  stopgap reject RUN

    Exit codes: 0 recorded, 1 refused, 2 not understood.
    """
    return deciding.answer(run, Answer.WITHDRAW, person=person, reason=reason, sure=yes, step=step, code_stdin=code_stdin)
