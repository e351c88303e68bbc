"""What a schema cannot say of a runbook. Each module is one subject; each rule yields problems and raises nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.runbook.rules import naming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stopgap.document import Document
    from stopgap.problems import Problem
    from stopgap.runbook.known import Known

RULES: tuple[Callable[[Document, Known], Iterator[Problem]], ...] = (naming.check,)


def check(found: Document, known: Known) -> list[Problem]:
    """Apply every rule to a document, which may have any shape."""
    return [problem for rule in RULES for problem in rule(found, known)]
