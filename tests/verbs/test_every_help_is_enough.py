"""`--help` of each verb is enough to use it: it has examples, and each of them is understood by the verb it names."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest

from stopgap.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every verb, and every verb below `timeline`."""
    context = click.Context(main.stopgap)
    for verb in main.VERBS:
        command = main.stopgap.get_command(context, verb)
        assert command
        if isinstance(command, click.Group):
            yield from ((f"{verb} {name}", below) for name, below in command.commands.items())
        else:
            yield verb, command


def examples(command: click.Command) -> list[str]:
    return [re.split(r"  +", line.strip())[0] for line in (command.epilog or "").splitlines() if line.startswith("  ")]


@pytest.mark.parametrize(("verb", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_verb_has_examples_that_it_understands(verb: str, command: click.Command) -> None:
    found = examples(command)
    assert found
    for example in found:
        words = shlex.split(example)
        words = words[next(number for number, word in enumerate(words) if "=" not in word) :]
        assert words[: 1 + len(verb.split())] == ["stopgap", *verb.split()]
        command.make_context(verb, words[1 + len(verb.split()) :])


@pytest.mark.parametrize(("verb", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_option_says_what_it_is_for(verb: str, command: click.Command) -> None:
    assert command.help, verb
    assert [each.name for each in command.params if isinstance(each, click.Option) and not each.help and not each.hidden] == []
