"""Waiting for a condition by reading again and again, until it holds or time is up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from stopgap import clock
from stopgap.actions.contract import PermanentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopgap.actions.contract import Context

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, how long between two looks, and for how long it must hold without a break."""

    within: timedelta
    every: timedelta
    steady: timedelta = timedelta(0)


def until(read: Callable[[], T], holds: Callable[[T], bool], *, context: Context, patience: Patience, what: str) -> T:
    """Read again and again until it holds; PermanentError names the last thing read when time is up."""
    most = min(patience.within.total_seconds(), context.seconds_left())
    ends = context.clock.monotonic() + most
    holding_since: float | None = None
    while True:
        found = read()
        now = context.clock.monotonic()
        holding_since = (now if holding_since is None else holding_since) if holds(found) else None
        if holding_since is not None and now - holding_since >= patience.steady.total_seconds():
            return found
        if now >= ends:
            shorter = "" if patience.within.total_seconds() <= most else " (what was left of the step's timeout)"
            waited = clock.format_duration(timedelta(seconds=round(most, 1) or most))
            raise PermanentError(f"{what}: this did not hold within {waited}{shorter}; the last answer was: {found}.")
        context.clock.sleep(min(patience.every.total_seconds(), max(0.0, ends - now)))
