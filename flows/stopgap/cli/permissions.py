"""`stopgap permissions`: the least that runbooks need in other systems."""

from __future__ import annotations

import json

import click

from stopgap.cli import asking, examples

EXAMPLES = examples.lines(
    ("stopgap permissions checkout-latency", "Roles and policies for one runbook"),
    ("stopgap permissions", "for all of them together"),
    ("stopgap permissions --all checkout-latency", "also what is good to have and not needed"),
)


@click.command("permissions", epilog=EXAMPLES)
@click.argument("runbooks", nargs=-1, metavar="[RUNBOOK]...")
@click.option("--all", "optional", is_flag=True, help="Also permissions without which the runbooks run, but say or see less.")
@click.option("--name", default="stopgap", show_default=True, help="What the Roles are called.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, runbooks: tuple[str, ...], optional: bool, name: str, as_json: bool) -> None:
    """Print the smallest Kubernetes Roles and IAM policy with which RUNBOOKs run; without a name, all of them together.

    A Role names the very objects that the steps name. Where a step's argument is an expression, any object of that kind is allowed.
    """
    from stopgap.plan import permissions

    chosen = [asking.runbook(each) for each in runbooks] or list(asking.runbooks_by_name().values())
    needs = permissions.of(chosen, optional=optional)
    made = list(permissions.roles(needs, name=name))
    if as_json:
        kubernetes = [{"cluster": cluster, "role": role} for cluster, role in made]
        aws = {account: permissions.iam(statements) for account, statements in needs.aws.items()}
        found = {"kubernetes": kubernetes, "aws": aws, "others": needs.others, "lost": needs.lost}
        click.echo(json.dumps(found, indent=2))
        return
    import yaml

    for cluster, role in made:
        click.echo(f"# cluster {cluster}\n{yaml.safe_dump(role, sort_keys=False)}---")
    for account, statements in needs.aws.items():
        click.echo(f"# AWS account {account}\n{json.dumps(permissions.iam(statements), indent=2)}")
    for system, sentences in needs.others.items():
        click.echo("".join(f"# {system}: {sentence}\n" for sentence in sentences), nl=False)
    click.echo("".join(f"# left out, and not needed: without it {sentence}\n" for sentence in needs.lost), nl=False)
