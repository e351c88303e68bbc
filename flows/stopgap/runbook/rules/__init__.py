"""What a schema cannot say of a runbook. Each module is one subject; each rule yields problems and raises nothing.

A rule gets a document of any shape: what the schema finds wrong is reported by the schema and passed over here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.runbook.rules import arguments, members, naming, nesting, parameters, people, places, review, skipping, undoing, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stopgap.document import Document
    from stopgap.problems import Problem
    from stopgap.runbook.known import Known

RULES: tuple[Callable[[Document, Known], Iterator[Problem]], ...] = (
    naming.check,
    words.check,
    parameters.check,
    arguments.check,
    places.check,
    members.check,
    nesting.check,
    undoing.check,
    people.check,
    review.check,
    skipping.check,
)


def check(found: Document, known: Known) -> list[Problem]:
    """Apply every rule to a document."""
    return [problem for rule in RULES for problem in rule(found, known)]
