"""What a drill says of a runbook's steps, found without trusting any shape: a step that the runbook does not have, an entry of one without a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap import schema
from stopgap.runbook.model import own_step
from stopgap.runbook.rules import outline

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from stopgap.document import Document, KeyPath
    from stopgap.problems import Problem


def check(found: Document, runbook: str, *, steps: Collection[str], lists: Collection[str]) -> Iterator[Problem]:
    """Return the mistakes of a drill's document about these steps of the runbook, of which `lists` go through a list."""
    for path in _named(found):
        said = str(path[-1])
        name = own_step(said)
        if name not in steps:
            hint = schema.nearest(name, steps) or f"the steps are {schema.listed(list(steps), last='and')}"
            yield found.problem(path, f'"{runbook}" has no step "{name}"', "unknown-step", hint=hint, at_key=True)
        elif said.startswith(f"{name}[") and name not in lists:
            yield found.problem(path, f'"{name}" has no list, and so no "{said}"', "unknown-step", hint=f"write  {name}:", at_key=True)


def _named(found: Document) -> Iterator[KeyPath]:
    yield from (("given", step) for step in outline.mapping(found.data, "given"))
    expected = outline.mapping(found.data, "expect")
    for part in ("steps", "decisions"):
        yield from (("expect", part, step) for step in outline.mapping(expected, part))
