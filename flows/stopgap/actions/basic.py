"""Actions that need no system: wait, write a note, ask a human to do something."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap import clock
from stopgap.actions import fields
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action


@action
class Wait:
    """Wait for a fixed time, then go on."""

    name: ClassVar[str] = "wait"
    effect: ClassVar[Effect] = "reads"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = True
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(hours=24)
    permissions: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, str]] = {}

    for_: Annotated[fields.Duration, Field(alias="for", description="How long to wait.")]

    def targets(self) -> frozenset[Target]:
        """Nothing."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Say how long it will take."""
        return Change(summary=f"wait {clock.format_duration(self.for_)}", checked="unchecked")

    def apply(self, context: Context, change: Change) -> Outcome:
        """Wait; PermanentError when the step's timeout is shorter."""
        if self.for_.total_seconds() > context.seconds_left():
            raise PermanentError(
                f"wait: {clock.format_duration(self.for_)} is longer than what is left of the step's timeout.\nGive the step a longer `timeout:`."
            )
        context.clock.sleep(self.for_.total_seconds())
        return Outcome(changed=False, summary=f"waited {clock.format_duration(self.for_)}")

    def probe(self, context: Context, change: Change) -> Probe:
        """A wait that was interrupted starts again."""
        return Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """Time is not given back."""
        return None


@action
class Note:
    """Write a sentence into the timeline."""

    name: ClassVar[str] = "note"
    effect: ClassVar[Effect] = "reads"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, str]] = {}

    text: Annotated[str, Field(min_length=1, max_length=4000, description="What people shall read in the timeline.")]

    def targets(self) -> frozenset[Target]:
        """Nothing."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Show the text."""
        return Change(summary=f"note: {self.text}", checked="unchecked")

    def apply(self, context: Context, change: Change) -> Outcome:
        """The entry of the finished step carries the text; nothing else is written."""
        return Outcome(changed=False, summary=self.text)

    def probe(self, context: Context, change: Change) -> Probe:
        """Its only trace is the entry, which is not there if anybody asks."""
        return Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """The timeline is append-only."""
        return None


@action
class Manual:
    """A human does what is written here and says so at the gate."""

    name: ClassVar[str] = "manual"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = True
    default_timeout: ClassVar[timedelta] = timedelta(hours=24)
    permissions: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, str]] = {}

    instructions: Annotated[str, Field(min_length=1, max_length=8000, description="What the human shall do; Markdown.")]

    def targets(self) -> frozenset[Target]:
        """What a human touches is not known here."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Show the instructions; nobody can check them."""
        first = self.instructions.strip().splitlines()[0]
        return Change(summary=f"a human does: {first}", now={"done": "no"}, after={"done": self.instructions}, checked="unchecked")

    def apply(self, context: Context, change: Change) -> Outcome:
        """The human confirmed at the gate; who it was stands in the gate's own entries."""
        return Outcome(changed=True, summary=f"a human did: {self.instructions.strip().splitlines()[0]}")

    def probe(self, context: Context, change: Change) -> Probe:
        """Only a human can tell."""
        return Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """What a human did, a human takes back."""
        return None
