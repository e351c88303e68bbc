"""An action as another package would bring it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, Undoes, action


@action
class Ping:
    """Say a word."""

    name: ClassVar[str] = "foreign.ping"
    effect: ClassVar[Effect] = "reads"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, str]] = {}

    word: Annotated[str, Field(description="What it says.")]

    def targets(self) -> frozenset[Target]:
        return frozenset()

    def plan(self, context: Context) -> Change:
        return Change(summary=self.word)

    def apply(self, context: Context, change: Change) -> Outcome:
        return Outcome(changed=False, summary=self.word)

    def probe(self, context: Context, change: Change) -> Probe:
        return Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        return None
