"""Triggers of different runbooks that one alert may fit equally well: it would start neither of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stopgap.runbook.rules import outline

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from stopgap.document import Document
    from stopgap.problems import Problem

_HINT = "make one of them more specific, by one more label or a condition"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A trigger of a file."""

    file: str
    labels: Mapping[str, Any]
    when: Any

    def may_fit_with(self, other: _Seen) -> bool:
        """Whether an alert may fit both. Of two conditions nobody can say whether they exclude each other; their authors are trusted."""
        fits = all(other.labels[name] == value for name, value in self.labels.items() if name in other.labels)
        return fits and self.when == other.when


@dataclass(slots=True)
class Ties:
    """Remembers the triggers of the files that it is shown, and holds each new one against them."""

    _seen: dict[tuple[Any, ...], dict[str, list[_Seen]]] = field(default_factory=dict)  # of one weight, by their label alertname

    def check(self, found: Document) -> Iterator[Problem]:
        """Yield what ties with the triggers of earlier files: equal ones are mistakes, those that only overlap are warned of."""
        if not isinstance(found.data, dict) or found.data.get("archived"):
            return
        for index, trigger in enumerate(outline.listed(found.data, "triggers")):
            labels = trigger.get("match", {}) if isinstance(trigger, dict) else None
            if isinstance(labels, dict):
                mine = _Seen(found.file, labels, trigger.get("when"))
                named = str(labels.get("alertname", ""))
                alike = self._seen.setdefault((str(trigger.get("source")), len(labels), mine.when is None), {})
                rivals = [*alike.get(named, ()), *alike.get("", ())] if named else itertools.chain(*alike.values())
                yield from _against(found, index, mine, rivals)
                alike.setdefault(named, []).append(mine)


def _against(found: Document, index: int, mine: _Seen, rivals: Iterable[_Seen]) -> Iterator[Problem]:
    path = ("triggers", index)
    others = [rival for rival in rivals if rival.file != mine.file and mine.may_fit_with(rival)]
    same = next((rival for rival in others if rival.labels == mine.labels), None)
    if same:
        yield found.problem(path, f"{same.file} has the same trigger, so an alert starts neither", "trigger-tie", hint=_HINT, at_key=True)
    elif others:
        both = " ".join(f"{name}={value}" for name, value in {**others[0].labels, **mine.labels}.items())
        sentence = f"an alert with {both} fits a trigger of {others[0].file} equally well, and starts neither"
        yield found.warning(path, sentence, "trigger-tie", hint=_HINT, at_key=True)
