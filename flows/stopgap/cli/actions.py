"""`stopgap actions`: which actions there are, and what each takes, changes and needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from stopgap.cli import examples
from stopgap.problems import Exit, StopgapError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIST = examples.lines(("stopgap actions list", "every action, those of installed packages too"))
SHOW = examples.lines(("stopgap actions show kubernetes.drain", "its arguments, outputs, permissions"))


@click.group("actions")
def command() -> None:
    """Say which actions there are, and what each takes, changes and needs."""


@command.command("list", epilog=LIST)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: name -> JSON Schema.")
def listed(*, as_json: bool) -> int:
    """List every action with its first sentence: those of stopgap and of installed packages.

    Ends with 1 when an installed package has one that cannot be used, and says why.
    """
    from stopgap.actions import registry, schemas

    found, broken = {}, []
    for name in registry.names():
        try:
            found[name] = schemas.describe(registry.load(name))
        except StopgapError as error:
            broken.append(str(error))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(found)))
    if broken:
        click.echo("\n\n".join(["", *broken]), err=True)
    return Exit.FAILED if broken else Exit.DONE


@command.command("show", epilog=SHOW)
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print its JSON Schema.")
def shown(*, name: str, as_json: bool) -> None:
    """Print what NAME takes, changes, hands on and needs, as in the docs."""
    from stopgap.actions import reference, registry, schemas

    action = registry.load(name)
    schema = schemas.describe(action)
    click.echo(json.dumps(schema, indent=2, ensure_ascii=False) if as_json else reference.section(action, schema))


def _lines(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    width = max(map(len, found))
    for name, schema in found.items():
        yield f"{name:{width}}  {_kind(schema):8}  {schema['description'].split('. ')[0].rstrip('.')}"


def _kind(schema: Mapping[str, object]) -> str:
    return "waits" if schema["x-waits"] else str(schema["x-effect"])
