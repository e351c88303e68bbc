"""`stopgap up`: everything on this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from stopgap.cli import examples

if TYPE_CHECKING:
    from stopgap.engine.up import Up


EXAMPLES = examples.lines(
    ("stopgap up", "until ctrl-C; then, in another terminal: stopgap run NAME"),
    ("STOPGAP_RUNBOOKS=~/ops/runbooks stopgap up", "with the runbooks of another folder"),
)


@click.command(epilog=EXAMPLES)
@click.option("--until-eof", is_flag=True, hidden=True, help="End when standard input does: whoever started it may be killed.")
def command(*, until_eof: bool) -> None:
    """Run everything on this machine until ctrl-C: the database, Prefect's server and UI, a worker for the runbooks in ./runbooks, and the
    intake of alerts.

    Data lie in STOPGAP_HOME (by default ~/.local/share/stopgap, as root /var/lib/stopgap). With PREFECT_API_URL set, that Prefect server is
    used and none is started; with STOPGAP_DATABASE_URL set, the timeline is kept there. Runs that are under way at ctrl-C are handed back
    and go on where they were at the next `stopgap up`.
    """
    from stopgap.engine import up

    click.echo("Starting the database, Prefect's server and the worker ...", err=True)
    up.run(say=lambda text: click.echo(text, err=True), on_ready=_tell, until_eof=until_eof)
    click.echo("Everything has ended.", err=True)


def _tell(up: Up) -> None:
    click.echo(f"stopgap is ready (process {up.pid}). ctrl-C ends it.")
    click.echo(f"  Prefect    {up.ui_url}{_login(up)}")
    click.echo(
        f"  incidents  {up.alerts_url.removesuffix('alerts/')}incidents    log in as stopgap, with the text in {up.home / 'pages.auth'}"
    )
    click.echo(f"  alerts     POST {up.alerts_url}<source>    (docs/alerts.md has what to paste at each)")
    click.echo(f"  runbooks   {up.runbooks}, registered again whenever one changes")
    click.echo(f"  logs       {up.home / 'log'}")
    click.echo("  next       stopgap run RUNBOOK    (in another terminal)")


def _login(up: Up) -> str:
    """A terminal shows the password; a log only says where it is."""
    if not up.auth:
        return ""
    if sys.stdout.isatty():
        return f"    log in with  {up.auth}"
    return f"    log in with the text in {up.home / 'prefect.auth'}"
