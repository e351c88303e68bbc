"""`stopgap abort`: end a run before its next step."""

from __future__ import annotations

import click

from stopgap.cli import asking, deciding, examples
from stopgap.engine import journal
from stopgap.incidents import fold
from stopgap.problems import Exit
from stopgap.timeline import open as timelines

EXAMPLES = examples.lines(
    ("stopgap abort INC-12", "end it before its next step"),
    ("stopgap abort INC-12.1 --as ada --reason 'false alarm'", "as somebody, with the reason"),
)


@click.command(epilog=EXAMPLES)
@click.argument("run")
@click.option("--reason", default="", help="Why; it stands on the timeline.")
@click.option(
    "--as", "person", metavar="PERSON", help="Who ends it (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
)
def command(*, run: str, reason: str, person: str | None) -> int:
    """End RUN before its next step. A step that has begun is brought to its end first; what was done stays done.

    To take it back too, answer its next question with `stopgap reject RUN --undo`.
    """
    who = asking.me(person)
    with timelines.timeline() as timeline:
        found = fold.find_run(timeline, run)
        if found.end is not None:
            click.echo(f"{found.id} has ended already: {found.end}.", err=True)
            return Exit.FAILED
        click.echo(journal.abort_asked(timeline, found, actor=who, why=reason))
        deciding.wake(found)
    return Exit.DONE
