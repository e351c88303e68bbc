"""Actions that ask Prometheus; its servers are named in policy.yaml. No credentials are needed beyond what its address allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

import httpx
from pydantic import Field

from stopgap import clock
from stopgap.actions import fields, waiting
from stopgap.actions.contract import (
    Action,
    Change,
    Context,
    Effect,
    Outcome,
    PermanentError,
    Probe,
    Risk,
    Target,
    TemporaryError,
    Undoes,
    action,
)
from stopgap.actions.transports import http_client

Query = Annotated[
    str,
    Field(min_length=1, max_length=10000, description="PromQL that gives exactly one value; wrap it in sum() or max() if it gives more."),
]
Server = Annotated[str, Field(min_length=1, description="The name of a Prometheus server in policy.yaml.")]
PATIENCE = 10.0  # seconds for one query; a slow one must not eat the whole wait


@action
class PrometheusQuery:
    """Read one value from Prometheus, for later steps."""

    name: ClassVar[str] = "prometheus.query"
    effect: ClassVar[Effect] = "reads"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(seconds=30)
    permissions: ClassVar[Mapping[str, Any]] = {"prometheus": ["GET /api/v1/query"]}
    outputs: ClassVar[Mapping[str, str]] = {"value": "the value, a number"}

    query: Query
    server: Server = "default"

    def targets(self) -> frozenset[Target]:
        """It only reads."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Ask once and show the value."""
        return Change(summary=f"{self.query} is {ask(context, self.server, self.query):g} now", checked="server")

    def apply(self, context: Context, change: Change) -> Outcome:
        """Ask, and hand the value on."""
        value = ask(context, self.server, self.query)
        return Outcome(changed=False, summary=f"{self.query} is {value:g}", data={"value": value})

    def probe(self, context: Context, change: Change) -> Probe:
        """It leaves nothing behind: it may be asked again."""
        return Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """Reading needs no undo."""
        return None


@action
class PrometheusWait:
    """Wait until a value in Prometheus is below, above or equal to a number."""

    name: ClassVar[str] = "prometheus.wait"
    effect: ClassVar[Effect] = "reads"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = True
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = {"prometheus": ["GET /api/v1/query"]}
    outputs: ClassVar[Mapping[str, str]] = {"value": "the value that held, a number"}

    query: Query
    server: Server = "default"
    below: Annotated[float | None, Field(description="The value shall be less than this.")] = None
    above: Annotated[float | None, Field(description="The value shall be more than this.")] = None
    equals: Annotated[float | None, Field(description="The value shall be this.")] = None
    for_: Annotated[fields.Duration | None, Field(alias="for", description="It shall hold for so long without a break.")] = None
    within: Annotated[fields.Duration, Field(description="How long to wait for it.")] = timedelta(minutes=5)
    every: Annotated[fields.Duration, Field(description="How long between two queries.")] = timedelta(seconds=2)

    def __post_init__(self) -> None:
        """ValueError when nothing is waited for."""
        if self.below is None and self.above is None and self.equals is None:
            raise ValueError('nothing is waited for; give one of "below", "above" or "equals"')

    def targets(self) -> frozenset[Target]:
        """It only reads."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Ask once and say how it is now."""
        wanted = self._wanted()
        return Change(summary=f"wait until {self.query} is {wanted}; now: {self._look(context)}", checked="unchecked")

    def apply(self, context: Context, change: Change) -> Outcome:
        """Ask until it holds; PermanentError with the last value when it does not hold in time."""
        what = f"{self.query} is {self._wanted()}"
        value = waiting.until(lambda: self._look(context), self._holds, context=context, patience=self._patience(), what=what)
        return Outcome(changed=False, summary=f"{self.query} is {value:g}", data={"value": value})

    def probe(self, context: Context, change: Change) -> Probe:
        """It leaves nothing behind: it may be asked again."""
        return Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """Reading needs no undo."""
        return None

    def _patience(self) -> waiting.Patience:
        return waiting.Patience(within=self.within, every=self.every, steady=self.for_ or timedelta(0))

    def _wanted(self) -> str:
        bounds = {"below": self.below, "above": self.above, "equal to": self.equals}
        named = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
        return " and ".join(named) + (f" for {clock.format_duration(self.for_)}" if self.for_ else "")

    def _look(self, context: Context) -> float | str:
        # While it waits, a Prometheus that restarts or has no data yet is like a value that does not hold.
        try:
            return ask(context, self.server, self.query)
        except TemporaryError as error:
            return str(error)

    def _holds(self, value: float | str) -> bool:
        if isinstance(value, str):
            return False
        return (
            (self.below is None or value < self.below)
            and (self.above is None or value > self.above)
            and (self.equals is None or math.isclose(value, self.equals))
        )


def ask(context: Context, server: str, query: str) -> float:
    """Return the query's one value; TemporaryError when there is none at the moment, PermanentError when there never will be."""
    base = context.policy.prometheus.get(server)
    if base is None:
        known = ", ".join(sorted(context.policy.prometheus)) or "none"
        raise PermanentError(f'policy.yaml knows no Prometheus server "{server}"; it knows: {known}.')
    with http_client(context) as client:
        try:
            response = client.get(
                f"{base.rstrip('/')}/api/v1/query", params={"query": query}, timeout=min(PATIENCE, max(0.001, context.seconds_left()))
            )
        except httpx.TransportError as error:
            raise TemporaryError(f"Prometheus at {base} does not answer ({type(error).__name__}: {error}).") from error
    return _value(response, base=base, query=query)


def _value(response: httpx.Response, *, base: str, query: str) -> float:
    answer = _json(response)
    if response.status_code in {400, 422} and "error" in answer:
        raise PermanentError(f"Prometheus at {base} refused the query {query}: {answer['error']}")
    if response.status_code != httpx.codes.OK:
        raise TemporaryError(f"Prometheus at {base} answered {response.status_code}: {answer.get('error', response.text[:200])}")
    data = answer.get("data")
    if not isinstance(data, dict) or not {"resultType", "result"} <= data.keys():
        raise TemporaryError(f"Prometheus at {base} answered with something else than a value; is this its address?")
    return _single(data, base=base, query=query)


def _json(response: httpx.Response) -> Mapping[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _single(data: Mapping[str, Any], *, base: str, query: str) -> float:
    kind, result = data["resultType"], data["result"]
    if kind == "vector" and not result:
        raise TemporaryError(f"Prometheus at {base} has no data for {query}.")
    if kind not in {"vector", "scalar"} or (kind == "vector" and len(result) > 1):
        found = f"{len(result)} values" if kind == "vector" else f"a {kind}"
        raise PermanentError(f"The query {query} gives {found}; exactly one value is needed. Wrap it in sum(), max() or the like.")
    value = float(result[1] if kind == "scalar" else result[0]["value"][1])
    if not math.isfinite(value):
        raise TemporaryError(f"Prometheus at {base} gives {value} for {query}; there is no data to calculate with.")
    return value
