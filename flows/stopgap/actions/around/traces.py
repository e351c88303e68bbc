"""`traces.find` and `traces.wait`: the slowest and the failing traces of a service, in Jaeger or Zipkin, with plain HTTP: their libraries send traces and find none."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from stopgap import clock
from stopgap.actions.around import finding, reading
from stopgap.actions.contract import Change, Context, Outcome, TemporaryError, action

PERMISSIONS = {"jaeger": ["GET /api/traces"], "zipkin": ["GET /api/v2/traces"]}
ServiceName = Annotated[str, Field(min_length=1, max_length=200, description="The service, as its traces call it.")]
Place = Annotated[str, Field(min_length=1, description="The name of a place of traces in policy.yaml.")]


@action
class TracesFind(reading.Reading):
    """Find the slowest and the failing traces of a service, among the newest hundred."""

    name: ClassVar[str] = "traces.find"
    permissions: ClassVar[Mapping[str, Any]] = PERMISSIONS
    outputs: ClassVar[Mapping[str, str]] = {
        "failing": "how many of the newest traces failed; 100 means: at least so many",
        "slowest_seconds": "how long the slowest took; 0 when there are no traces",
        "slowest": "the slowest traces: trace, name, seconds, link",
        "failing_traces": "the newest failing ones: trace, name, seconds, link",
        "link": "where they came from",
    }

    service: ServiceName
    last: reading.Last = timedelta(minutes=15)
    limit: reading.Limit = 5
    place: Place = "default"

    def plan(self, context: Context) -> Change:
        """Look once and say what there is."""
        return Change(summary=self._told(finding.find(context, self.place, self.service, last=self.last)), checked="server")

    def apply(self, context: Context, change: Change) -> Outcome:
        """Look, and hand the traces on."""
        found = finding.find(context, self.place, self.service, last=self.last)
        slowest = found.slowest[: self.limit]
        data = {
            "failing": len(found.failing),
            "slowest_seconds": slowest[0].seconds if slowest else 0,
            "slowest": [each.to_json() for each in slowest],
            "failing_traces": [each.to_json() for each in found.failing[: self.limit]],
            "link": found.link,
        }
        return Outcome(changed=False, summary=f"{self._told(found)}: {found.link}", data=data)

    def _told(self, found: finding.Traces) -> str:
        since = f"in the last {clock.format_duration(self.last)}"
        if not found.slowest:
            return f"{self.service} has no traces {since}"
        first = found.slowest[0]
        return f"{len(found.failing)} traces of {self.service} failed {since}; the slowest took {first.seconds:g} s ({first.name})"


@action
class TracesWait(reading.Waiting):
    """Wait until the failing traces of a service are few enough, or its slowest fast enough."""

    name: ClassVar[str] = "traces.wait"
    permissions: ClassVar[Mapping[str, Any]] = PERMISSIONS
    outputs: ClassVar[Mapping[str, str]] = {"value": "the number that held: of failing traces, or of seconds"}

    service: ServiceName
    of: Annotated[Literal["failing", "slowest"], Field(description="How many traces fail, or how many seconds the slowest takes.")] = (
        "failing"
    )
    last: reading.Last = timedelta(minutes=1)
    place: Place = "default"
    below: reading.Below = None
    above: reading.Above = None
    equals: reading.Equals = None
    for_: reading.For = None
    within: reading.Within = timedelta(minutes=5)
    every: reading.Every = timedelta(seconds=10)

    def _what(self) -> str:
        what = "the number of failing traces" if self.of == "failing" else "the time in seconds of the slowest trace"
        return f"{what} of {self.service} in the last {clock.format_duration(self.last)}"

    def _measure(self, context: Context) -> float:
        found = finding.find(context, self.place, self.service, last=self.last)
        if not found.slowest:
            # A service that nobody reaches any more fails nowhere; that must not count as well.
            raise TemporaryError(f"{self.service} has no traces in the last {clock.format_duration(self.last)}")
        return len(found.failing) if self.of == "failing" else found.slowest[0].seconds
