"""Waiting for what follows from a change that was sent: an API server that is away is waited for, the deadline leaves the step in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stopgap.actions.contract import InDoubtError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopgap.actions.contract import Context

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Look:
    """One look: whether it is done, how it stands in words, and a number that the outcome may tell."""

    is_done: bool
    words: str
    count: int = 0


def until(context: Context, look: Callable[[], Look], *, what: str) -> Look:
    """Look again and again until it is done. InDoubtError: the deadline passed. What `look` raises beside TemporaryError ends the wait."""
    pause, seen = FIRST_PAUSE, "nothing was seen of it yet"
    while True:
        try:
            found = look()
            if found.is_done:
                return found
            seen = found.words
        except TemporaryError as error:
            seen = f"{seen.split('; then: ')[0]}; then: {error}"[:500]
        if context.seconds_left() <= pause:
            raise InDoubtError(f"{what}: the step's deadline passed before it was done ({seen}).")
        context.clock.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 1.5)
