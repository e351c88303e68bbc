"""Traces of a service as Jaeger and Zipkin give them: each as its name, how long it took, and whether something in it failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stopgap.actions.around import reading, web
from stopgap.actions.around import site as sites

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from stopgap.actions.contract import Context
    from stopgap.policy.around import Site

NEWEST = 100  # traces that are asked for: the services sort by nothing but time
_FAILED = {"error": {"true", "1"}, "otel.status_code": {"error"}, "status.code": {"2"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One trace: `name` is that of its first span."""

    id: str
    name: str
    seconds: float
    has_failed: bool
    link: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON object for later steps."""
        return {"trace": self.id, "name": self.name, "seconds": self.seconds, "link": self.link}


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """The slowest first, the failing as they came, and where people see them."""

    slowest: Sequence[Trace]
    failing: Sequence[Trace]
    link: str


def find(context: Context, place: str, service: str, *, last: timedelta) -> Traces:
    """Ask for the newest traces of a service, and for the newest that failed."""
    site = sites.find(context, "traces", place)
    ask, failing = (_jaeger, {"tags": '{"error":"true"}'}) if site.kind == "jaeger" else (_zipkin, {"annotationQuery": "error"})
    every = ask(context, site, service, last, {})
    failed = {each.id: each for each in (*ask(context, site, service, last, failing), *every) if each.has_failed}
    known = {each.id: each for each in (*every, *failed.values())}
    base = site.settings.get("link", site.url)
    link = f"{base}/search?service={quote(service)}" if site.kind == "jaeger" else f"{base}/zipkin/?serviceName={quote(service)}"
    return Traces(slowest=sorted(known.values(), key=lambda each: -each.seconds), failing=tuple(failed.values())[:NEWEST], link=link)


@web.understood()
def _jaeger(context: Context, site: Site, service: str, last: timedelta, more: dict[str, str]) -> list[Trace]:
    now = context.clock.now().timestamp()
    begins, ends = (str(int(moment * 1_000_000)) for moment in (now - last.total_seconds(), now))
    params = {"service": service, "start": begins, "end": ends, "limit": str(NEWEST), **more}
    found = _get(context, site, "/api/traces", params)
    traces = found.get("data") if isinstance(found, dict) else None
    return [_of_jaeger(site, each) for each in traces or []]


@web.understood()
def _zipkin(context: Context, site: Site, service: str, last: timedelta, more: dict[str, str]) -> list[Trace]:
    ends = str(int(context.clock.now().timestamp() * 1000))
    params = {"serviceName": service, "lookback": str(int(last.total_seconds() * 1000)), "endTs": ends, "limit": str(NEWEST), **more}
    found = _get(context, site, "/api/v2/traces", params)
    return [_of_zipkin(site, each) for each in found if each] if isinstance(found, list) else []


def _get(context: Context, site: Site, path: str, params: dict[str, str]) -> Any:
    answer = web.ask(context, site, "GET", f"{site.url}{path}", params=params, headers=sites.authorization(site))
    return web.body(site, answer)


def _of_jaeger(site: Site, trace: dict[str, Any]) -> Trace:
    spans = trace["spans"]
    first = min(spans, key=lambda span: span["startTime"])
    failed = any(_is_failure(tag.get("key", ""), tag.get("value")) for span in spans for tag in span.get("tags", ()))
    return _trace(
        site,
        str(trace["traceID"]),
        "trace",
        first["operationName"],
        [(each["startTime"], each["duration"]) for each in spans],
        failed=failed,
    )


def _of_zipkin(site: Site, spans: list[dict[str, Any]]) -> Trace:
    first = min(spans, key=lambda span: span.get("timestamp", 0) or float("inf"))
    # Zipkin: that there is a tag "error" is the error; its value says which.
    failed = any("error" in (each.get("tags") or {}) for each in spans)
    times = [(each["timestamp"], each.get("duration", 0)) for each in spans if each.get("timestamp")]
    return _trace(site, str(first["traceId"]), "zipkin/traces", str(first.get("name", "")), times, failed=failed)


def _trace(site: Site, name: str, path: str, operation: str, times: list[tuple[int, int]], *, failed: bool) -> Trace:  # noqa: PLR0913  its parts
    ends = max((begun + lasted for begun, lasted in times), default=0)
    seconds = (ends - min((begun for begun, _ in times), default=0)) / 1_000_000
    link = f"{site.settings.get('link', site.url)}/{path}/{name}"
    return Trace(id=name, name=reading.trimmed(operation), seconds=round(seconds, 6), has_failed=failed, link=link)


def _is_failure(key: str, value: object) -> bool:
    if key in {"http.status_code", "http.response.status_code"}:
        return str(value) >= "500"
    return str(value).lower() in _FAILED.get(key, ())
