"""The expressions with which policy.yaml reads the bodies of generic sources: they must be CEL, and read what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap import schema
from stopgap.runbook import cel_tokens, expressions
from stopgap.runbook.rules import outline, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.document import Document, KeyPath
    from stopgap.problems import Problem


def check(found: Document) -> Iterator[Problem]:
    """Every expression of every source of a policy of any shape."""
    alerts = outline.mapping(found.data, "alerts") if isinstance(found.data, dict) else {}
    for name, source in outline.mapping(alerts, "sources").items():
        fields = outline.mapping(source, "fields") if isinstance(source, dict) else {}
        for field, expression in fields.items():
            if isinstance(expression, str):
                roots = ("body", "headers", "item") if "each" in fields and field not in {"each", "delivery"} else ("body", "headers")
                yield from _check(found, ("alerts", "sources", name, "fields", field), expression, roots)


def _check(found: Document, path: KeyPath, expression: str, roots: tuple[str, ...]) -> Iterator[Problem]:
    if "${{" in expression:
        hint = "these are expressions already: write what stands between the marks"
        yield found.problem(path, "there is a ${{ }} in this expression", "misplaced-expression", hint=hint)
        return
    try:
        expressions.compiled(expression)
    except expressions.ExpressionSyntaxError as error:
        yield found.problem(
            path, f"character {error.column}: {error}", "bad-expression", hint="it is CEL: docs/runbooks.md shows its words"
        )
        return
    for name in cel_tokens.names(expression):
        if name.parts[0] not in roots:
            hint = schema.nearest(name.parts[0], roots) or f"it may read {schema.listed(roots, last='and')}"
            yield found.problem(path, f'there is nothing named "{name.parts[0]}" here', "unknown-name", hint=hint)
    for call in cel_tokens.functions(expression):
        if call.text not in words.FUNCTIONS:
            hint = schema.nearest(call.text, words.FUNCTIONS)
            yield found.problem(path, f'there is no function "{call.text}"', "unknown-function", hint=hint)
