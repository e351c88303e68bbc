"""Elasticsearch by its official client, whose requests go through our transport. The client refuses OpenSearch, and servers older than itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stopgap.actions.around import site as sites
from stopgap.actions.around import web
from stopgap.actions.around.logs import Found
from stopgap.actions.contract import PermanentError
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from datetime import timedelta

    from stopgap.actions.contract import Context
    from stopgap.policy.around import Site


@web.understood()
def search(context: Context, site: Site, query: str, *, last: timedelta, limit: int) -> Found:
    """Search an index in Lucene's query language, the newest first."""
    time = site.settings.get("time", "@timestamp")
    within = {"range": {time: {"gte": f"now-{max(1, int(last.total_seconds()))}s"}}}
    wanted = {"bool": {"must": [{"query_string": {"query": query}}], "filter": [within]}}
    client = _client(context, site)
    try:
        answer = client.search(index=site.settings["index"], query=wanted, sort=[{time: "desc"}], size=limit, track_total_hits=True).body
    except StopgapError:
        raise
    except Exception as error:
        said = web.shown(site, f"{type(error).__name__}: {error}")
        raise PermanentError(f"{site.title} gave no answer that its client takes ({said}).") from error
    finally:
        client.close()
    hits = answer["hits"]
    return Found(int(hits["total"]["value"]), tuple(_line(each["_source"], site, time) for each in hits["hits"]))


def _line(source: dict[str, Any], site: Site, time: str) -> str:
    said = _at(source, site.settings.get("message", "message"))
    return f"{_at(source, time) or ''} {said if isinstance(said, str) else json.dumps(source, ensure_ascii=False)}".strip()


def _at(source: Any, name: str) -> Any:
    if isinstance(source, dict) and name in source:
        return source[name]
    first, _, rest = name.partition(".")
    return _at(source[first], rest) if rest and isinstance(source, dict) and first in source else None


def _client(context: Context, site: Site) -> Any:
    from elastic_transport import ApiResponseMeta, BaseNode, HttpHeaders
    from elastic_transport._node import NodeApiResponse  # what BaseNode's only method must return, and is named nowhere else
    from elasticsearch import Elasticsearch

    class Node(BaseNode):
        """Sends what the client would send through the guarded transport."""

        def perform_request(
            self, method: str, target: str, body: bytes | None = None, headers: HttpHeaders | None = None, request_timeout: Any = None
        ) -> NodeApiResponse:
            wanted = {**self.headers, **(headers or {})}
            wanted = {str(name): str(value) for name, value in wanted.items() if str(name).lower() not in {"connection", "content-length"}}
            answer = web.ask(context, site, method, f"{self.base_url}{target}", headers=wanted, text=body, reading="elasticsearch")
            meta = ApiResponseMeta(
                node=self.config, duration=0.0, http_version="1.1", status=answer.status, headers=HttpHeaders(answer.headers)
            )
            return NodeApiResponse(meta, answer.text.encode())

        def close(self) -> None:
            """It keeps no connection."""

    found = sites.secret(site)
    access: dict[str, Any] = {"basic_auth": (site.user, found)} if site.user else {"api_key": found} if found else {}
    return Elasticsearch([_with_port(site.url)], node_class=Node, max_retries=0, retry_on_timeout=False, **access)


def _with_port(url: str) -> str:
    parts = urlsplit(url)  # the client wants a port
    if parts.port:
        return url
    return parts._replace(netloc=f"{parts.netloc}:{443 if parts.scheme == 'https' else 80}").geturl()
