"""`stopgap notices`: who is told by which way, and whether a message really gets there."""

from __future__ import annotations

import difflib
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from stopgap.cli import asking, examples
from stopgap.policy import addresses
from stopgap.problems import Exit, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stopgap.policy.model import Policy

WITHIN = timedelta(seconds=20)
TITLE = "stopgap: a test"
BODY = "This is a test of stopgap's notices. Nothing has happened, and nobody needs to do anything."


@click.group("notices", epilog=examples.lines(("stopgap notices test oncall-chat ada", "do messages get there?")))
def command() -> None:
    """See whether the people and channels of policy.yaml can be told."""


@command.command(
    epilog=examples.lines(
        ("stopgap notices test", "every person and channel"), ("stopgap notices test ada --page", "the address that wakes her, too")
    )
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--page", "pages", is_flag=True, help="Also send to where a person is paged, which may wake them.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def test(*, names: tuple[str, ...], pages: bool, as_json: bool) -> int:
    """Send a test message to each NAME, a person or a channel of policy.yaml, and say what came back.

    ${NAME} in an address is read from the environment of this command: run it as the worker runs, or it tries another address.
    Nothing is written to the timeline.

    Exit codes: 0 every message was taken, 1 one was not.
    """
    policy = asking.policy()
    found = _addresses(policy, pages=pages)
    chosen = {name: _known(name, found) for name in names} if names else found
    folder = policy.path.absolute().parent if policy.path else None
    said = [(name, _try(written, folder)) for name, all_of_it in chosen.items() for written in all_of_it]
    _print(said, as_json=as_json)
    return Exit.FAILED if any(why for _, why in said) or not said else Exit.DONE


def _addresses(policy: Policy, *, pages: bool) -> dict[str, tuple[str, ...]]:
    people = {str(name): (*each.notify, *(each.page if pages else ())) for name, each in policy.people.items()}
    return {name: found for name, found in people.items() if found} | {each.name: (each.url,) for each in policy.channels}


def _known(name: str, found: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    if name in found:
        return found[name]
    near = difflib.get_close_matches(name, found, n=1)
    hint = f'Did you mean "{near[0]}"?' if near else f"These have one: {', '.join(found) or 'nobody'}."
    raise UsageError(f'policy.yaml names no address for "{name}" under people or notify. {hint}')


def _try(written: str, folder: Path | None) -> str:
    """Send; return why it was not taken."""
    from pathlib import Path

    from stopgap.actions import messages

    try:
        address = addresses.resolve(written, folder=folder or Path.cwd())
    except addresses.AddressError as error:
        return str(error).replace("where the worker runs", "here")
    return messages.deliver(address, title=TITLE, body=BODY, within=WITHIN)


def _print(said: list[tuple[str, str]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([{"name": name, "taken": not why, "why": why} for name, why in said], indent=2, ensure_ascii=False))
        return
    if not said:
        click.echo("policy.yaml names no address: write some under people (notify) or under notify.", err=True)
    for name, why in said:
        click.echo(f"{name}: {f'NOT taken: {why}' if why else 'taken; look whether it arrived'}")
