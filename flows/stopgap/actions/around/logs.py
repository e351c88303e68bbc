"""`logs.search` and `logs.wait`: what Elasticsearch or Splunk has of the last minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import quote

from pydantic import Field

from stopgap import clock
from stopgap.actions.around import reading
from stopgap.actions.around import site as sites
from stopgap.actions.contract import Change, Context, Outcome, action

if TYPE_CHECKING:
    from stopgap.policy.around import Site

PERMISSIONS = {"elasticsearch": ["the privilege read on the index"], "splunk": ["the capability search, and the indexes that are searched"]}
Query = Annotated[
    str, Field(min_length=1, max_length=4000, description="The search: Lucene's query syntax for Elasticsearch, SPL for Splunk.")
]
Place = Annotated[str, Field(min_length=1, description="The name of a place of logs in policy.yaml.")]


@dataclass(frozen=True, slots=True)
class Found:
    """How many lines there are, and the newest of them."""

    count: int
    lines: tuple[str, ...]


@action
class LogsSearch(reading.Reading):
    """Search the logs of the last minutes, and keep the newest lines."""

    name: ClassVar[str] = "logs.search"
    permissions: ClassVar[Mapping[str, Any]] = PERMISSIONS
    outputs: ClassVar[Mapping[str, str]] = {
        "count": "how many lines match",
        "lines": "the newest of them, each of at most 300 characters, without what looks like a credential",
        "link": "where they came from",
    }

    query: Query
    last: reading.Last = timedelta(minutes=15)
    limit: reading.Limit = 10
    place: Place = "default"

    def plan(self, context: Context) -> Change:
        """Search once and say how many there are."""
        found, _ = _search(context, self.place, self.query, last=self.last, limit=1)
        return Change(summary=f"{found.count} lines match {self.query} in the last {clock.format_duration(self.last)}", checked="server")

    def apply(self, context: Context, change: Change) -> Outcome:
        """Search, and hand the newest lines on."""
        found, site = _search(context, self.place, self.query, last=self.last, limit=self.limit)
        link = _link(site, self.query, self.last)
        lines = [reading.trimmed(line) for line in found.lines[: self.limit]]
        summary = f"{found.count} lines match {self.query} in the last {clock.format_duration(self.last)}: {link}"
        return Outcome(changed=False, summary=summary, data={"count": found.count, "lines": lines, "link": link})


@action
class LogsWait(reading.Waiting):
    """Wait until the number of lines that match is below, above or equal to a number."""

    name: ClassVar[str] = "logs.wait"
    permissions: ClassVar[Mapping[str, Any]] = PERMISSIONS
    outputs: ClassVar[Mapping[str, str]] = {"value": "the number of lines that held"}

    query: Query
    last: reading.Last = timedelta(minutes=1)
    place: Place = "default"
    below: reading.Below = None
    above: reading.Above = None
    equals: reading.Equals = None
    for_: reading.For = None
    within: reading.Within = timedelta(minutes=5)
    every: reading.Every = timedelta(seconds=10)

    def _what(self) -> str:
        return f"the number of lines in the last {clock.format_duration(self.last)} that match {self.query}"

    def _measure(self, context: Context) -> float:
        return _search(context, self.place, self.query, last=self.last, limit=1)[0].count


def _search(context: Context, place: str, query: str, *, last: timedelta, limit: int) -> tuple[Found, Site]:
    site = sites.find(context, "logs", place)
    if site.kind == "splunk":
        from stopgap.actions.around import splunk

        return splunk.search(context, site, query, last=last, limit=limit), site
    from stopgap.actions.around import elastic

    return elastic.search(context, site, query, last=last, limit=limit), site


def _link(site: Site, query: str, last: timedelta) -> str:
    """Return where people see the same: Kibana's Discover or Splunk's search, if policy.yaml says where that is."""
    base, seconds = site.settings.get("link", ""), int(last.total_seconds())
    if not base:
        return site.url
    if site.kind == "splunk":
        return f"{base}?q={quote(f'search {query}')}&earliest=-{seconds}s&latest=now"
    text = quote(query.replace("!", "!!").replace("'", "!'"))
    return f"{base}#/?_g=(time:(from:now-{seconds}s,to:now))&_a=(query:(language:lucene,query:'{text}'))"
