"""`command.run`: a program of this machine that policy.yaml allows, without a shell and with an empty environment."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import programs
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action
from stopgap.policy import commands

Argv = Annotated[
    list[Annotated[str, Field(max_length=10_000, pattern=r"^[^\x00]*$")]],
    Field(
        min_length=1,
        max_length=100,
        description="The program's whole path and its arguments, as a list; `commands` of policy.yaml must allow it.",
    ),
]


@action
class CommandRun:
    """Run a program on the machine of the worker, if policy.yaml allows it; there is no shell, and its environment is empty."""

    name: ClassVar[str] = "command.run"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "depends"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = {
        "command": ["a pattern under `commands` of policy.yaml, and a user who may run the program"]
    }
    outputs: ClassVar[Mapping[str, str]] = {"said": "the last 4000 characters that it wrote, on both of its outputs"}

    argv: Argv
    status: Annotated[int, Field(ge=0, le=255, description="The status with which it ends when all is well.")] = 0
    undo_argv: Annotated[Argv | None, Field(description="The program that takes it back; without one there is no undo.")] = None

    def targets(self) -> frozenset[Target]:
        """The program: two runs never run the same one at once."""
        return frozenset({Target(f"command/{self.argv[0].lstrip('/')}")})

    def plan(self, context: Context) -> Change:
        """Show the program and its arguments, if policy allows them. Nobody can check what it will do."""
        self._refuse(context)
        shown = shlex.join(self.argv)
        return Change(
            summary=f"run {shown}",
            now={"command": "not run"},
            after={"command": shown},
            checked="unchecked",
            notes=("if stopgap dies while it runs, only a human can tell what became of it",),
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Run it to its end; PermanentError when it ends with another status, in doubt when the deadline passes first."""
        self._refuse(context)
        ended = programs.run(context, self.argv)
        if ended.status != self.status:
            raise PermanentError(
                f"{shlex.join(self.argv)} ended with {ended.status} instead of {self.status}: {ended.said or 'it said nothing'}"
            )
        return Outcome(changed=True, summary=f"ran {shlex.join(self.argv)}", data={"said": ended.said})

    def probe(self, context: Context, change: Change) -> Probe:
        """A program leaves no mark that we know of: only a human can tell."""
        return Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Run the program that takes it back, if the step names one."""
        return CommandRun(argv=self.undo_argv) if self.undo_argv else None

    def _refuse(self, context: Context) -> None:
        if not commands.allowed(self.argv, context.policy.commands):
            raise PermanentError(
                f"policy.yaml does not allow {shlex.join(self.argv)}. It allows: {commands.show(context.policy.commands)}. Nothing was started."
            )
