"""`runbook.run` and `runbook.undo`: a step that is a whole run of its own. The engine carries them out (`engine/nested.py`); they act on no system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action

RUN, UNDO = "runbook.run", "runbook.undo"
NAMES = frozenset({RUN, UNDO})
_ALONE = "Only a run can do this, not a program of its own."


@action
class RunbookRun:
    """Run another runbook on the same incident, with its own gates and its own timeline, and wait until it has ended."""

    name: ClassVar[str] = RUN
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "depends"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(hours=24)
    permissions: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, str]] = {"run": "the run's id, like INC-12.2", "end": "how it ended: done"}

    runbook: Annotated[
        str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$", description="The other runbook's name, as it is: no expression.")
    ]
    parameters: Annotated[dict[str, Any], Field(description="Its parameters, by name; those left out have its defaults.")] = field(
        default_factory=dict
    )

    def targets(self) -> frozenset[Target]:
        """None of its own: the other run's steps name theirs, and share the locks of this run."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Plan every step of the other runbook against the live state, and show what each would change."""
        if context.preview is None:
            raise PermanentError(f"What {self.runbook} would change can only be planned by a run or by `stopgap plan`.")
        return context.preview(self.runbook, self.parameters)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Never called: the engine asks for the run, and waits for it."""
        raise PermanentError(_ALONE)

    def probe(self, context: Context, change: Change) -> Probe:
        """The timeline tells whether it was asked for and how it ended; the engine reads that, and asks nobody."""
        return Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """What the other run did is taken back by its own undo ladder, each of its steps as it says for itself."""
        return RunbookUndo(run=str(change.undo["run"])) if change.undo.get("run") else None


@action
class RunbookUndo:
    """Take back what another run of this incident did, step by step, and wait until that is done."""

    name: ClassVar[str] = UNDO
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(hours=24)
    permissions: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, str]] = {"run": "the id of the run that took it back", "end": "how it ended: done"}

    run: Annotated[str, Field(pattern=r"^[A-Z]+-[0-9]+\.[0-9]+$", description="An ended run of this incident: steps.ID.output.run.")]

    def targets(self) -> frozenset[Target]:
        """None of its own: the steps that are taken back name theirs."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Say which run is taken back; each of its steps is planned, and asks, when its turn comes."""
        return Change(
            summary=f"take back {self.run}",
            now={self.run: "stands"},
            after={self.run: "taken back, as far as it can be"},
            checked="unchecked",
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Never called: the engine asks for the run, and waits for it."""
        raise PermanentError(_ALONE)

    def probe(self, context: Context, change: Change) -> Probe:
        """The timeline tells; the engine reads that."""
        return Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Run the runbook again."""
        return None
