"""`stopgap deploy`: register every runbook with Prefect."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stopgap import home
from stopgap.runbook import load


@click.command()
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Register nothing; write the prefect.yaml that `prefect deploy --all` reads.",
)
@click.option("--prune", is_flag=True, help="Also remove stopgap's deployments whose runbook is gone, unless a run of theirs is open.")
@click.option("--json", "as_json", is_flag=True, help="Print the deployments as JSON.")
def command(*, write: Path | None, prune: bool, as_json: bool) -> None:
    """Register every runbook in ./runbooks (or STOPGAP_RUNBOOKS) with Prefect: one deployment each, with its form.

    The server is the one PREFECT_API_URL names, otherwise that of the running `stopgap up`, which does this by itself whenever a runbook changes.
    """
    runbooks = load.load_all(home.runbooks_folder())
    from stopgap.engine import deploy, server

    if write:
        write.write_text(deploy.project_file(runbooks))
        click.echo(f"wrote {write}")
        return
    server.use_current()
    deployed = deploy.deploy(runbooks, prune=prune)
    if as_json:
        click.echo(json.dumps([{"runbook": each.runbook, "deployment": str(each.id), "version": each.version} for each in deployed]))
        return
    for each in deployed:
        click.echo(f"{each.runbook}  {each.version}")
    click.echo(f"{len(deployed)} runbooks are registered. Start one:  stopgap run NAME")
