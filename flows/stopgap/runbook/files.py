"""Check files of every kind at once, as `stopgap lint` does: runbooks, policy and drills, alone and against each other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stopgap import document, schema
from stopgap.policy import load as policies
from stopgap.runbook import generic, load, ties
from stopgap.runbook.rules import nesting, outline, spoken

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from stopgap.document import Document
    from stopgap.policy.model import Policy
    from stopgap.problems import Problem
    from stopgap.runbook.known import Known

KINDS = ("Runbook", "Policy", "Drill")


@dataclass(slots=True)
class Checker:
    """Checks files one by one, and remembers what the files say of each other.

    `known` is what runbooks are checked against; its policy is replaced by the policy.yaml nearest above each file.
    """

    known: Known
    shown: dict[Path, str] = field(default_factory=dict)  # how a file is called in problems; its path when it is not here
    _policies: dict[Path, Policy | None] = field(default_factory=dict)
    _nearest: dict[Path, Path | None] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _steps: dict[str, dict[str, bool]] = field(default_factory=dict)  # runbook -> its steps, and whether each goes through a list
    _successors: list[tuple[str, Problem]] = field(default_factory=list)
    _drills: list[Document] = field(default_factory=list)
    _family: nesting.Family = field(default_factory=nesting.Family)
    _ties: ties.Ties = field(default_factory=ties.Ties)

    def check(self, paths: Iterable[Path]) -> list[Problem]:
        """Return every problem of these files, sorted; each once."""
        problems = [problem for path in paths for problem in self._file(path)]
        problems += [problem for name, problem in self._successors if name not in self._names]
        problems += self._family.problems()
        problems += [problem for drill in self._drills for problem in self._drill(drill)]
        return sorted(set(problems))

    def _file(self, path: Path) -> list[Problem]:
        found, problems = document.examine(path, file=self.shown.get(path, ""))
        if found is None:
            return problems
        return document.joined(problems, self._content(found))

    def _content(self, found: Document) -> list[Problem]:
        kind = load.kind_of(found.data)
        if kind == "Policy":
            return [*policies.check(found)[1], *generic.check(found)]
        if kind == "Drill":
            self._drills.append(found)
            return schema.check(found, "drill")
        if kind is None or kind == load.KIND:
            return self._runbook(found)
        hint = schema.nearest(kind, KINDS) or f"a file is a {schema.listed(KINDS)}"
        return [found.problem(("kind",), f'there is no kind "{kind}"', "unknown-kind", hint=hint)]

    def _runbook(self, found: Document) -> list[Problem]:
        policy, more = self._policy_above(found.path)
        self._family.add(found)
        problems = load.problems_in(found, known=replace(self.known, policy=policy))
        return problems + more + self._names_of(found) + list(self._ties.check(found))

    def _policy_above(self, path: Path) -> tuple[Policy | None, list[Problem]]:
        folder = path.absolute().parent
        if folder not in self._nearest:
            self._nearest[folder] = policies.find(folder)
        place = self._nearest[folder]
        if place is None or place in self._policies:
            return (self._policies[place] if place else None), []
        found, problems = document.examine(place, file=self.shown.get(place, ""))
        self._policies[place], more = policies.check(found) if found else (None, [])
        return self._policies[place], problems + more

    def _names_of(self, found: Document) -> list[Problem]:
        data = found.data if isinstance(found.data, dict) else {}
        name, successor = data.get("name"), data.get("superseded_by")
        if isinstance(successor, str):
            sentence = f'there is no runbook "{successor}" among these files'
            self._successors.append((successor, found.warning(("superseded_by",), sentence, "unknown-runbook")))
        if not isinstance(name, str):
            return []
        self._steps[name] = {step.id: "for_each" in step.data for step in outline.steps(found)}
        first = self._names.setdefault(name, found.file)
        if first == found.file:
            return []
        sentence = f'the runbook "{name}" is already in {first}'
        return [found.problem(("name",), sentence, "duplicate-name", hint="give it another name")]

    def _drill(self, found: Document) -> list[Problem]:
        """A drill speaks of a runbook and its steps, if that runbook is among the files."""
        name = found.data.get("runbook")
        if not self._steps or not isinstance(name, str):
            return []
        if name not in self._steps:
            hint = schema.nearest(name, self._steps)
            return [found.warning(("runbook",), f'there is no runbook "{name}" among these files', "unknown-runbook", hint=hint)]
        steps = self._steps[name]
        return list(spoken.check(found, name, steps=list(steps), lists=[step for step, is_list in steps.items() if is_list]))
