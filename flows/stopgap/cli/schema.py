"""`stopgap schema`: the JSON Schemas, for editors."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stopgap import schema
from stopgap.cli import examples

NAMES = ("runbook", "policy", "drill", "entry")


EXAMPLES = examples.lines(
    ("stopgap schema --write", "all of them into ./schemas"),
    ("stopgap schema policy", "print one"),
)


@click.command("schema", epilog=EXAMPLES)
@click.argument("name", type=click.Choice(NAMES), required=False)
@click.option(
    "--write",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    is_flag=False,
    flag_value="schemas",
    help="Write all of them into this folder (./schemas).",
)
@click.option("--json", "as_json", is_flag=True, help="Accepted for uniformity: a schema is JSON.")
def command(*, name: str | None, folder: Path | None, as_json: bool) -> None:  # noqa: ARG001  as_json changes nothing
    """Print a JSON Schema, or write them all for editors.

    NAME is runbook (printed when no NAME is given), policy, drill or entry. An editor with a YAML language server finds a schema by a
    file's first line:

    \b
        # yaml-language-server: $schema=../schemas/runbook.schema.json
    """  # noqa: D301  click's own mark for a paragraph that is not wrapped
    if folder is None:
        click.echo(json.dumps(schema.load(name or "runbook"), indent=2, ensure_ascii=False))
        return
    written = write(folder)
    click.echo(f"wrote {written} schemas into {folder}")


def write(folder: Path) -> int:
    """Write every schema into a folder, the actions' below `actions/`, those of installed packages too; return how many."""
    source = schema.folder()
    texts = {path.relative_to(source): path.read_text() for path in source.rglob("*.schema.json")}
    texts |= _foreign()
    for path, text in texts.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.absolute() != source / path:
            target.write_text(text)
    return len(texts)


def _foreign() -> dict[Path, str]:
    from stopgap.actions import foreign
    from stopgap.runbook import known

    found = known.actions()
    sound = [found[name] for name in foreign.actions() if not found[name].fault]
    return {Path("actions", f"{each.name}.schema.json"): json.dumps(each.schema, indent=2, ensure_ascii=False) + "\n" for each in sound}
