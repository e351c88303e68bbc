"""Takes the values of a run's secret parameters out of everything the run writes: entries, questions, and so the form and the artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.redact import Redaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.runbook.model import Runbook

# What the engine itself reads again. None of it can hold a parameter's value, and a secret that looks like it must not blot it out.
_OWN = frozenset({"attempt", "excused", "status", "ends", "uses", "digest", "undoes", "checked", "version", "assumed", "step"})


def redaction(runbook: Runbook, parameters: Mapping[str, Any]) -> Redaction:
    """Return what hides the values of this run's secret parameters."""
    return Redaction(each for name, known in runbook.parameters.items() if known.secret for each in _values(parameters.get(name)))


def hidden(secrets: Redaction, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry's data without the secrets; its keys, and what the engine reads again, stay as they are."""
    return {name: _hidden(secrets, name, value) for name, value in data.items()}


def _hidden(secrets: Redaction, name: str, value: Any) -> Any:
    if name in _OWN:
        return value
    if name == "members" and isinstance(value, list):  # of one question: each with its own digest
        return [hidden(secrets, each) for each in value]
    return hidden(secrets, value) if name == "change" and isinstance(value, dict) else secrets.json(value)


def _values(value: Any) -> Iterator[object]:
    if isinstance(value, list):
        for each in value:
            yield from _values(each)
    elif value is not None and not isinstance(value, bool):
        yield value
