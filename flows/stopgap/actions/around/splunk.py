"""Splunk by its official SDK, whose requests go through our transport. A search may only use commands that are known to read: others write, send or start programs."""

from __future__ import annotations

import io
import json
import re
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

COMMANDS = frozenset(
    {
        "bin", "bucket", "chart", "dedup", "eval", "eventstats", "fields", "fillnull", "head", "lookup", "mvexpand", "rare", "regex", "rename",
        "replace", "reverse", "rex", "search", "sort", "spath", "stats", "streamstats", "table", "tail", "timechart", "top", "tstats", "where",
    }
)  # fmt: skip
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@web.understood()
def search(context: Context, site: Site, query: str, *, last: timedelta, limit: int) -> Found:
    """Search in SPL, the newest first, and count."""
    refuse(query)
    whole = query if query.lstrip().startswith("|") else f"search {query}"
    service = _connect(context, site)
    since = f"-{max(1, int(last.total_seconds()))}s"
    try:
        count = _results(service, f"{whole} | stats count", since)
        lines = _results(service, f"{whole} | head {limit}", since)
    except StopgapError:
        raise
    except Exception as error:
        said = web.shown(site, f"{type(error).__name__}: {error}")
        raise PermanentError(f"{site.title} gave no answer that its SDK takes ({said}).") from error
    return Found(int(count[0]["count"]) if count else 0, tuple(_line(each) for each in lines))


def refuse(query: str) -> None:
    """PermanentError when a search uses what may do more than read."""
    bare = _QUOTED.sub('""', query)
    if "`" in bare:
        raise PermanentError("A Splunk search must not use macros (`...`) here: what is in them cannot be seen. Nothing was sent.")
    if '"' in bare.replace('""', ""):
        raise PermanentError("The Splunk search has a quotation mark that is never closed. Nothing was sent.")
    first, *rest = re.split(r"[|\[]", bare)
    named = [each.split()[0].lower() if each.split() else "" for each in rest]
    if not first.strip() and not any(named):
        raise PermanentError("The Splunk search is empty. Nothing was sent.")
    for name in named:
        if name and name.rstrip("]") not in COMMANDS:
            raise PermanentError(
                f'A Splunk search must not use the command "{name}" here: it is not known to read only. Allowed are {", ".join(sorted(COMMANDS))}. Nothing was sent.'
            )


def _results(service: Any, query: str, since: str) -> list[dict[str, Any]]:
    from splunklib.results import JSONResultsReader

    stream = service.jobs.export(query, earliest_time=since, latest_time="now", output_mode="json", preview="false")
    return [dict(each) for each in JSONResultsReader(stream) if isinstance(each, dict)]


def _line(event: dict[str, Any]) -> str:
    raw = event.get("_raw")
    shown = {name: value for name, value in event.items() if not name.startswith("_")}
    return f"{event.get('_time', '')} {raw if isinstance(raw, str) else json.dumps(shown, ensure_ascii=False)}".strip()


def _connect(context: Context, site: Site) -> Any:
    from splunklib import client

    def carry(url: str, message: dict[str, Any], **_: Any) -> dict[str, Any]:
        headers = {
            name: value for name, value in message.get("headers", []) if name.lower() not in {"connection", "content-length", "host"}
        }
        body = message.get("body", "") or None
        if body and "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = "application/x-www-form-urlencoded"  # the SDK leaves it out
        answer = web.ask(context, site, message["method"], url, headers=headers, text=body, reading="splunk")
        return {"status": answer.status, "reason": "", "headers": list(answer.headers.items()), "body": io.BytesIO(answer.text.encode())}

    parts, found = urlsplit(site.url), sites.secret(site)
    access = {"username": site.user, "password": found, "basic": True} if site.user else {"splunkToken": found}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return client.connect(scheme=parts.scheme, host=parts.hostname, port=port, handler=carry, autologin=False, retries=0, **access)
