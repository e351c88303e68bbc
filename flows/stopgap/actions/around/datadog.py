"""Datadog by its official client, whose requests go through our transport; it retries nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from stopgap.actions.around import site as sites
from stopgap.actions.around import web
from stopgap.actions.contract import PermanentError
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from datetime import timedelta

    from stopgap.actions.contract import Context
    from stopgap.policy.around import Site


class _Answer:
    """What the client reads of an answer."""

    reason = ""

    def __init__(self, status: int, data: bytes) -> None:
        self.status, self.data = status, data
        self.headers = {"Content-Type": "application/json"}


class _Pool:
    """Stands in the place of the client's own pool of connections."""

    def __init__(self, context: Context, site: Site) -> None:
        self._context, self._site = context, site

    def request(self, method: str, url: str, *, headers: dict[str, str], fields: Any = None, body: Any = None, **_: Any) -> _Answer:
        whole = f"{url}?{urlencode(fields)}" if fields else url
        found = web.ask(self._context, self._site, method, whole, headers=headers, text=body)
        return _Answer(found.status, found.text.encode())

    def clear(self) -> None:
        """It keeps no connection."""


@web.understood()
def ask(context: Context, site: Site, query: str, last: timedelta) -> float | None:
    """Return the newest value of the query's one series, None when it has none."""
    from datadog_api_client import ApiClient, Configuration
    from datadog_api_client.v1.api.metrics_api import MetricsApi

    configuration = Configuration(host=site.url, enable_retry=False)
    configuration.api_key |= {"apiKeyAuth": sites.secret(site), "appKeyAuth": sites.secret(site, application=True)}
    now = int(context.clock.now().timestamp())
    client = ApiClient(configuration)
    client.rest_client.pool_manager = _Pool(context, site)
    try:
        found = MetricsApi(client).query_metrics(_from=now - max(1, int(last.total_seconds())), to=now, query=query)
    except StopgapError:
        raise
    except Exception as error:
        said = web.shown(site, f"{type(error).__name__}: {error}")
        raise PermanentError(f"{site.title} gave no answer that its client takes ({said}).") from error
    if found.get("error"):
        raise PermanentError(f"{site.title} refused the query {query}: {web.shown(site, str(found['error']))}")
    series = found.get("series") or []
    if len(series) > 1:
        raise PermanentError(f"The query {query} gives {len(series)} series; exactly one is needed. Aggregate it without `by {{...}}`.")
    points = [point.value[1] for each in series for point in each.get("pointlist") or []]
    known = [float(point) for point in points if point is not None]
    return known[-1] if known else None
