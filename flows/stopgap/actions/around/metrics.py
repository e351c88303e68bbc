"""`metrics.query` and `metrics.wait`: one number from Datadog, New Relic or CloudWatch; Prometheus has actions of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions.around import reading
from stopgap.actions.around import site as sites
from stopgap.actions.contract import Change, Context, Outcome, TemporaryError, action

if TYPE_CHECKING:
    from stopgap.policy.around import Site

PERMISSIONS = {
    "datadog": ["an application key with timeseries_query"],
    "newrelic": ["a user key that may query the account"],
    "aws": [{"actions": ["cloudwatch:GetMetricData"], "resources": ["*"], "optional": "needed for sources of kind cloudwatch alone"}],
}
Query = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4000,
        description="What gives exactly one series: a Datadog query, NRQL, for CloudWatch `p99 NAMESPACE METRIC Name=Value ...` or an expression.",
    ),
]
Source = Annotated[str, Field(min_length=1, description="The name of a source of metrics in policy.yaml.")]


@action
class MetricsQuery(reading.Reading):
    """Read one value from Datadog, New Relic or CloudWatch, for later steps."""

    name: ClassVar[str] = "metrics.query"
    permissions: ClassVar[Mapping[str, Any]] = PERMISSIONS
    outputs: ClassVar[Mapping[str, str]] = {"value": "the newest value, a number", "link": "where it came from"}

    query: Query
    last: reading.Last = timedelta(minutes=5)
    source: Source = "default"

    def plan(self, context: Context) -> Change:
        """Ask once and show the value."""
        return Change(summary=f"{self.query} is {ask(context, self.source, self.query, self.last)[0]:g} now", checked="server")

    def apply(self, context: Context, change: Change) -> Outcome:
        """Ask, and hand the value on."""
        value, link = ask(context, self.source, self.query, self.last)
        return Outcome(changed=False, summary=f"{self.query} is {value:g}: {link}", data={"value": value, "link": link})


@action
class MetricsWait(reading.Waiting):
    """Wait until a value of Datadog, New Relic or CloudWatch is below, above or equal to a number."""

    name: ClassVar[str] = "metrics.wait"
    permissions: ClassVar[Mapping[str, Any]] = PERMISSIONS
    outputs: ClassVar[Mapping[str, str]] = {"value": "the value that held, a number"}

    query: Query
    last: reading.Last = timedelta(minutes=5)
    source: Source = "default"
    below: reading.Below = None
    above: reading.Above = None
    equals: reading.Equals = None
    for_: reading.For = None
    within: reading.Within = timedelta(minutes=5)
    every: reading.Every = timedelta(seconds=15)

    def _what(self) -> str:
        return self.query

    def _measure(self, context: Context) -> float:
        return ask(context, self.source, self.query, self.last)[0]


def ask(context: Context, source: str, query: str, last: timedelta) -> tuple[float, str]:
    """Return the query's newest value and a link; TemporaryError when there is none at the moment, PermanentError when there never will be."""
    site = sites.find(context, "metrics", source)
    value, link = _ask(context, site, query, last)
    if value is None or not math.isfinite(value):
        raise TemporaryError(f"{site.title} has no data for {query}.")
    return value, site.settings.get("link", link)


def _ask(context: Context, site: Site, query: str, last: timedelta) -> tuple[float | None, str]:
    if site.kind == "datadog":
        from stopgap.actions.around import datadog

        return datadog.ask(context, site, query, last), "https://app.datadoghq.com/metric/explorer"
    if site.kind == "newrelic":
        from stopgap.actions.around import newrelic

        return newrelic.ask(context, site, query), "https://one.newrelic.com"
    from stopgap.actions.around import cloudwatch

    return cloudwatch.ask(context, site, query, last)
