"""Actions over plain HTTP: wait until an address answers as it should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

import httpx
from pydantic import Field

from stopgap import clock
from stopgap.actions import fields, waiting
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action
from stopgap.actions.transports import http_client


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request brought: `status` is 0 when nothing answered, and `problem` then says why."""

    status: int
    seconds: float
    problem: str = ""

    def __str__(self) -> str:
        """Render for people: `503 in 0.12 s`."""
        return self.problem or f"{self.status} in {self.seconds:.2f} s"


@action
class HttpWait:
    """Wait until an HTTP address answers with the expected status, and fast enough."""

    name: ClassVar[str] = "http.wait"
    effect: ClassVar[Effect] = "reads"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = True
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, str]] = {"status": "the status of the last answer", "seconds": "how long the last answer took"}

    url: Annotated[fields.Url, Field(description="The address; it is asked with GET, redirects are not followed.")]
    status: Annotated[int, Field(ge=100, le=599, description="The status that it shall answer with.")] = 200
    faster_than: Annotated[fields.Duration | None, Field(description="How long an answer may take.")] = None
    within: Annotated[fields.Duration, Field(description="How long to wait for it.")] = timedelta(minutes=5)
    every: Annotated[fields.Duration, Field(description="How long between two requests.")] = timedelta(seconds=2)

    def targets(self) -> frozenset[Target]:
        """It only reads."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Ask once and say how it is now."""
        return Change(summary=f"wait until {self.url} answers {self._wanted()}; now: {self._ask(context)}", checked="unchecked")

    def apply(self, context: Context, change: Change) -> Outcome:
        """Ask until it holds; PermanentError with the last answer when it does not hold in time."""
        answer = waiting.until(
            lambda: self._ask(context),
            self._holds,
            context=context,
            patience=self._patience(),
            what=f"{self.url} answers {self._wanted()}",
        )
        return Outcome(
            changed=False, summary=f"{self.url} answers {answer}", data={"status": answer.status, "seconds": round(answer.seconds, 3)}
        )

    def probe(self, context: Context, change: Change) -> Probe:
        """It leaves nothing behind: it may be asked again."""
        return Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """Reading needs no undo."""
        return None

    def _patience(self) -> waiting.Patience:
        return waiting.Patience(within=self.within, every=self.every)

    def _wanted(self) -> str:
        return f"{self.status}" + (f" in less than {clock.format_duration(self.faster_than)}" if self.faster_than else "")

    def _holds(self, answer: Answer) -> bool:
        return answer.status == self.status and (self.faster_than is None or answer.seconds < self.faster_than.total_seconds())

    def _ask(self, context: Context) -> Answer:
        started = context.clock.monotonic()
        with http_client(context) as client:
            # An answer later than ten times what is wanted is no answer; otherwise one hung request would eat the whole wait.
            patience = min(context.seconds_left(), 10 * (self.faster_than or timedelta(seconds=1)).total_seconds())
            try:
                response = client.get(self.url, timeout=max(0.001, patience))
            except httpx.InvalidURL as error:
                raise PermanentError(f"{self.url}: {error}.") from error
            except httpx.TransportError as error:
                return Answer(0, context.clock.monotonic() - started, f"no answer ({type(error).__name__}: {error})")
        return Answer(response.status_code, context.clock.monotonic() - started)
