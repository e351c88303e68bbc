"""What actions share that look something up: they change nothing, and their `wait` twins look until a number is as it shall be."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from stopgap import clock
from stopgap.actions import fields, waiting
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, TemporaryError, Undoes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

Last = Annotated[fields.Duration, Field(description="How far to look back.")]
Below = Annotated[float | None, Field(description="It shall be less than this.")]
Above = Annotated[float | None, Field(description="It shall be more than this.")]
Equals = Annotated[float | None, Field(description="It shall be this.")]
For = Annotated[fields.Duration | None, Field(alias="for", description="It shall hold for so long without a break.")]
Within = Annotated[fields.Duration, Field(description="How long to wait for it.")]
Every = Annotated[fields.Duration, Field(description="How long between two looks.")]
Limit = Annotated[int, Field(ge=1, le=50, description="How many to hand on at most.")]
LONGEST_LINE = 300
# What must not get from a log into the timeline, which nobody can take it out of again.
_SECRETS = re.compile(
    r"""(?ix) (?: (?: pass(?:word|wd)? | secret | token | api[_-]?key | authorization | credential s? | cookie ) ["']? \s* [=:] \s* ["']? (?:(?:bearer|basic)\s+)?
    | \b bearer \s+ ) (?P<value> [^\s"',;&]+ ) | \b AKIA[0-9A-Z]{16} \b | \b eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]* | (?<=://)[^\s/:@]+:[^\s/@]+(?=@)"""
)


def trimmed(line: str) -> str:
    """Return a line of a log as it may be kept: short, on one line, without what looks like a credential."""
    return _SECRETS.sub(_hidden, " ".join(line.split()))[:LONGEST_LINE]


def _hidden(found: re.Match[str]) -> str:
    value = found["value"]
    return found[0].removesuffix(value) + "***" if value else "***"


class Reading:
    """An action that reads once."""

    effect: ClassVar[Effect] = "reads"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)

    __slots__ = ()

    def targets(self) -> frozenset[Target]:
        """It only reads."""
        return frozenset()

    def probe(self, context: Context, change: Change) -> Probe:
        """It leaves nothing behind: it may be asked again."""
        return Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """Reading needs no undo."""
        return None


class Waiting(Reading):
    """An action that looks until a number is below, above or equal to another."""

    waits: ClassVar[bool] = True
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)

    __slots__ = ()

    if TYPE_CHECKING:
        below: float | None
        above: float | None
        equals: float | None
        for_: timedelta | None
        within: timedelta
        every: timedelta

        def _what(self) -> str: ...

        def _measure(self, context: Context) -> float: ...

    def __post_init__(self) -> None:
        """ValueError when nothing is waited for."""
        if self.below is None and self.above is None and self.equals is None:
            raise ValueError('nothing is waited for; give one of "below", "above" or "equals"')

    def plan(self, context: Context) -> Change:
        """Look once and say how it is now."""
        return Change(summary=f"wait until {self._what()} is {self._wanted()}; now: {self._look(context)}", checked="unchecked")

    def apply(self, context: Context, change: Change) -> Outcome:
        """Look until it holds; PermanentError with the last value when it does not hold in time."""
        patience = waiting.Patience(within=self.within, every=self.every, steady=self.for_ or timedelta(0))
        what = f"{self._what()} is {self._wanted()}"
        value = waiting.until(lambda: self._look(context), self._holds, context=context, patience=patience, what=what)
        data: Mapping[str, Any] = {"value": value}
        return Outcome(changed=False, summary=f"{self._what()} is {value:g}", data=data)

    def _wanted(self) -> str:
        bounds = {"below": self.below, "above": self.above, "equal to": self.equals}
        named = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
        return " and ".join(named) + (f" for {clock.format_duration(self.for_)}" if self.for_ else "")

    def _look(self, context: Context) -> float | str:
        # While it waits, a service that is away or has no data yet is like a value that does not hold.
        try:
            return self._measure(context)
        except TemporaryError as error:
            return str(error)

    def _holds(self, value: float | str) -> bool:
        return not isinstance(value, str) and (
            (self.below is None or value < self.below)
            and (self.above is None or value > self.above)
            and (self.equals is None or math.isclose(value, self.equals))
        )
