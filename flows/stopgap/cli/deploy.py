"""`stopgap deploy`: register every runbook with Prefect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stopgap import home
from stopgap.cli import asking, examples
from stopgap.problems import Exit
from stopgap.runbook import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopgap.engine.deploy import Deployed


EXAMPLES = examples.lines(
    ("stopgap deploy", "register the runbooks with the running stopgap up"),
    ("PREFECT_API_URL=https://prefect.example.com/api stopgap deploy", "with a Prefect server of yours"),
    ("stopgap deploy --write prefect.yaml", "for `prefect deploy --all`"),
)


@click.command(epilog=EXAMPLES)
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Register nothing; write the prefect.yaml that `prefect deploy --all` reads.",
)
@click.option("--prune", is_flag=True, help="Also remove stopgap's deployments whose runbook is gone, unless a run of theirs is open.")
@click.option("--json", "as_json", is_flag=True, help="Print the deployments as JSON.")
def command(*, write: Path | None, prune: bool, as_json: bool) -> int:
    """Register every runbook in ./runbooks (or STOPGAP_RUNBOOKS) with Prefect: one deployment each, with its form.

    The server is the one PREFECT_API_URL names, otherwise that of the running `stopgap up`, which does this by itself whenever a runbook changes.
    Runbooks with mistakes are left out and named. Exit codes: 0, or 1 when some were left out or there is no server.
    """
    from stopgap.engine import deploy, server

    if write:
        write.write_text(deploy.project_file(load.load_all(home.runbooks_folder())))
        click.echo(f"wrote {write}")
        return Exit.DONE
    server.use_current()
    runbooks, problems = load.load_sound(home.runbooks_folder())
    asking.warn(problems)
    deployed = deploy.deploy(
        runbooks, prune=prune and not problems
    )  # the deployment of a file with a mistake is not one whose runbook is gone
    _show(deployed, as_json=as_json)
    return Exit.FAILED if problems else Exit.DONE


def _show(deployed: Sequence[Deployed], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([{"runbook": each.runbook, "deployment": str(each.id), "version": each.version} for each in deployed]))
        return
    for each in deployed:
        click.echo(f"{each.runbook}  {each.version}")
    click.echo(f"{len(deployed)} runbooks are registered. Start one:  stopgap run NAME")
