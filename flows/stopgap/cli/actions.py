"""`stopgap actions`: which actions there are, and what each takes, changes and needs."""

from __future__ import annotations

import json

import click

from stopgap.cli import examples

LIST = examples.lines(("stopgap actions list", "every action, those of installed packages too"))
SHOW = examples.lines(("stopgap actions show kubernetes.drain", "its arguments, outputs, permissions"))


@click.group("actions")
def command() -> None:
    """Say which actions there are, and what each takes, changes and needs."""


@command.command("list", epilog=LIST)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: name -> JSON Schema.")
def listed(*, as_json: bool) -> None:
    """List every action with its first sentence: those of stopgap and of installed packages."""
    from stopgap.actions import registry, schemas

    found = schemas.generate(registry.names())
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    width = max(map(len, found))
    for name, schema in found.items():
        click.echo(f"{name:{width}}  {_kind(schema):8}  {schema['description'].split('. ')[0].rstrip('.')}")


@command.command("show", epilog=SHOW)
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print its JSON Schema.")
def shown(*, name: str, as_json: bool) -> None:
    """Print what NAME takes, changes, hands on and needs, as in the docs."""
    from stopgap.actions import reference, registry, schemas

    action = registry.load(name)
    schema = schemas.describe(action)
    click.echo(json.dumps(schema, indent=2, ensure_ascii=False) if as_json else reference.section(action, schema))


def _kind(schema: dict[str, object]) -> str:
    return "waits" if schema["x-waits"] else str(schema["x-effect"])
