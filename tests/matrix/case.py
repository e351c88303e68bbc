"""`Case`: how one action is tried in the kill matrix."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matrix.systems import Systems

# Which points are tried: "every", "gaps" or "thirds" of `make matrix`; "ci" writes down what CI tries; nothing in CI itself.
POINTS = os.environ.get("STOPGAP_REWRITE_MATRIX", "")
IS_WHOLE = POINTS in {"every", "gaps", "thirds"}
NAME = "${{ params.name }}"  # of the object that is this run's alone
THING = "${{ params.thing }}"  # what `make` returned: an id that the system chose


def nothing(_system: Any, _name: str) -> Any:
    """Neither make nor look at anything."""
    return None


def everything(_systems: Systems) -> str:
    """All that is needed is there."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How one action is tried, and what a run that nobody kills does to the system.

    `arguments` are the step's, in which NAME stands for the object that is this run's alone; `make` sets that object up, and may return its id; `look` reads
    from the system what must be the same however the run was killed; `effects` is how often a complete run changes the object, its undo
    included; `counted` says where they are counted, and `where` on which of several systems. `lacks` says what is missing here to try it.
    """

    arguments: Callable[[Systems], Mapping[str, Any]]
    effects: int
    counted: str
    make: Callable[[Systems, str], str | None] = nothing
    look: Callable[[Systems, str], Any] = nothing
    remove: Callable[[Systems, str], None] = nothing
    where: Callable[[Systems], str] = everything
    lacks: Callable[[Systems], str] = everything
