"""Runbooks that run others: each by a name that is written out, as a step of its own; and, among the files, none that runs itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stopgap import schema
from stopgap.runbook import expressions
from stopgap.runbook.rules import outline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.document import Document
    from stopgap.problems import Problem
    from stopgap.runbook.known import Known

RUN = "runbook.run"


def check(found: Document, known: Known) -> Iterator[Problem]:  # noqa: ARG001  every rule has this shape
    """The steps of one file that run other runbooks."""
    for call in _calls(found):
        name = call.arguments.get("runbook")
        if isinstance(name, str) and expressions.find(name):
            hint = "write a step for each, with a condition"
            yield found.problem((*call.path, "with", "runbook"), "the runbook's name must be written out", "open-runbook", hint=hint)
        if "parallel" in call.path or "for_each" in call.step.data:
            sentence = "a runbook has questions of its own, so it cannot run as one of several"
            yield found.problem((*call.path, "uses"), sentence, "runbook-in-a-group", hint="write it as a step, before or after")


@dataclass(slots=True)
class Family:
    """What the runbooks of a lint say of each other: which there are, with which parameters, and which runs which."""

    _required: dict[str, Mapping[str, bool]] = field(default_factory=dict)  # runbook -> parameter -> whether it must be given
    _calls: list[tuple[str, Document, outline.CallOutline]] = field(default_factory=list)

    def add(self, found: Document) -> None:
        """Remember a runbook."""
        name = found.data.get("name") if isinstance(found.data, dict) else None
        if isinstance(name, str):
            parameters = outline.mapping(found.data, "parameters")
            self._required[name] = {key: "default" not in outline.mapping(parameters, key) for key in parameters}
            self._calls += [(name, found, call) for call in _calls(found) if isinstance(call.arguments.get("runbook"), str)]

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the calls, now that every file was read."""
        runs: dict[str, list[str]] = {}
        for name, _, call in self._calls:
            runs.setdefault(name, []).append(call.arguments["runbook"])
        for name, found, call in self._calls:
            wanted = call.arguments["runbook"]
            if expressions.find(wanted):
                continue
            if circle := _way(runs, wanted, name):
                sentence = f'"{name}" would run itself: {" > ".join([name, *circle])}'
                yield found.problem((*call.path, "with", "runbook"), sentence, "runs-itself")
            elif wanted not in self._required:
                hint = schema.nearest(wanted, self._required)
                sentence = f'there is no runbook "{wanted}" among these files'
                yield found.warning((*call.path, "with", "runbook"), sentence, "unknown-runbook", hint=hint)
            else:
                yield from self._parameters(found, call, self._required[wanted])

    @staticmethod
    def _parameters(found: Document, call: outline.CallOutline, required: Mapping[str, bool]) -> Iterator[Problem]:
        wanted, given = call.arguments["runbook"], outline.mapping(call.arguments, "parameters")
        for key in given:
            if key not in required:
                hint = schema.nearest(key, required) or (f"it has {schema.listed(required, last='and')}" if required else "it has none")
                path = (*call.path, "with", "parameters", key)
                yield found.problem(path, f'"{wanted}" has no parameter "{key}"', "unknown-parameter", hint=hint, at_key=True)
        for key, is_needed in required.items():
            if is_needed and key not in given:
                sentence = f'"{wanted}" needs its parameter "{key}"'
                yield found.problem(
                    (*call.path, "with"), sentence, "missing-parameter", hint=f"give it under parameters: {key}", at_key=True
                )


def _calls(found: Document) -> Iterator[outline.CallOutline]:
    return (call for call in outline.calls(found) if call.uses == RUN and not call.is_verify)


def _way(runs: Mapping[str, list[Any]], start: str, end: str) -> list[str]:
    """Return the runbooks from `start` to `end`, each run by the one before; empty when there is no way."""
    paths, seen = [[start]], {start}
    while paths:
        path = paths.pop()
        if path[-1] == end:
            return path
        following = [name for name in runs.get(path[-1], ()) if name not in seen]
        seen |= set(following)
        paths += [[*path, name] for name in following]
    return []
