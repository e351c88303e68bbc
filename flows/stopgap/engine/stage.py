"""What a run is carried out on. Prefect in production; the life of a step knows only this."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from stopgap.actions.contract import Action, Change
    from stopgap.approvals.model import Gate
    from stopgap.incidents.model import Run
    from stopgap.runbook.model import ApprovalRequest, Step


LOCKED = "Locked"  # the state of a flow run that begins again in some seconds, to see whether its targets are free
WAITING = "WaitsForRun"  # and of one that begins again when the run that is a step of it has ended


class Stage(Protocol):
    """Waits for people and shows work."""

    async def wait(self, part: Part, gate: Gate) -> Gate:
        """Return the gate once it is no longer open; may leave the process for as long as that takes."""

    async def rest(self, pause: timedelta, *, why: str, state: str = LOCKED) -> None:
        """Wait so long for something that is no person; may leave the process meanwhile, and show it in that state."""

    async def begin_run(self, run: Run) -> None:
        """Let another run begin, or look again when it sleeps. May be repeated; what cannot be begun now is begun later."""

    async def show(self, part: Part, body: Callable[[], None]) -> None:
        """Do a stretch of work in a thread, where people can see it."""

    async def tell(self) -> None:
        """Show the timeline as it is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A step to carry out: one of the runbook's, a member of one, or the undo of one.

    `build` gives its action; `request` the gate it needs for a change, with the reason, or None. A member is `within` the step whose
    one question covers all its members. `turn` is held while it asks: of those that run side by side, one asks at a time.
    """

    step: Step
    uses: str
    build: Callable[[], Action]
    request: Callable[[Action, Change], tuple[ApprovalRequest, str] | None]
    within: Part | None = None
    turn: contextlib.AbstractAsyncContextManager[Any] = field(default_factory=contextlib.nullcontext)
