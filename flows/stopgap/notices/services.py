"""Services that wake people by themselves: rings of one page are one incident there, which our acknowledgement acknowledges.

apprise speaks to both, but names no dedup_key to PagerDuty, so that each ring would open another incident; and what Opsgenie is told as a mere
notice makes no alert there. The addresses are apprise's: `pagerduty://INTEGRATION_KEY@API_KEY?region=eu`, of which only the integration key is
needed, and `opsgenie://API_KEY/#team?region=eu` (developer.pagerduty.com, "Send an alert event"; docs.opsgenie.com, "Alert API").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from stopgap.actions import messages
from stopgap.policy import addresses
from stopgap.redact import Redaction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

PAGERDUTY = {"us": "https://events.pagerduty.com/v2/enqueue", "eu": "https://events.eu.pagerduty.com/v2/enqueue"}
OPSGENIE = {"us": "https://api.opsgenie.com/v2/alerts", "eu": "https://api.eu.opsgenie.com/v2/alerts"}
_MOST = 1024  # characters of a summary
_SAID = 200
_TAKEN = frozenset({200, 202})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent. `thread` is not empty for a page: services take what has the same for one, and `closes` says that it is acknowledged."""

    title: str
    body: str
    within: timedelta
    thread: str = ""
    closes: bool = False


def deliver(address: str, message: Message) -> str:
    """Send; return why it failed, empty when it was taken."""
    scheme = address.partition("://")[0].lower() if message.thread else ""
    try:
        if scheme == "pagerduty":
            return _hidden(address, _pagerduty(address, message))
        if scheme == "opsgenie" and message.closes:
            return _hidden(address, _acknowledged_at_opsgenie(address, message))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return _hidden(address, f"{type(error).__name__}: {error}")
    if scheme == "opsgenie":
        # Otherwise it would be a note on an alert that is not there.
        address = f"{address}{'&' if '?' in address else '?'}alias={message.thread}&action=new"
    return messages.deliver(address, title=message.title, body=message.body, within=message.within)


def _hidden(address: str, text: str) -> str:
    return Redaction(addresses.secrets(address)).text(" ".join(text.split()))[:_SAID]


def _pagerduty(address: str, message: Message) -> str:
    key, endpoint = _account(address, PAGERDUTY)
    event: dict[str, object] = {"routing_key": key, "dedup_key": message.thread, "event_action": "acknowledge"}
    if not message.closes:
        payload = {"summary": message.title[:_MOST], "source": "stopgap", "severity": "critical", "custom_details": {"text": message.body}}
        event |= {"event_action": "trigger", "client": "stopgap", "payload": payload}
    return _post(endpoint, event, message)


def _acknowledged_at_opsgenie(address: str, message: Message) -> str:
    key, endpoint = _account(address, OPSGENIE)
    where = f"{endpoint}/{message.thread}/acknowledge?identifierType=alias"
    return _post(where, {"source": "stopgap", "note": message.body}, message, Authorization=f"GenieKey {key}")


def _account(address: str, endpoints: Mapping[str, str]) -> tuple[str, str]:
    parts = urlsplit(address)
    region = parse_qs(parts.query).get("region", ["us"])[0].lower()
    return unquote(parts.netloc.partition("@")[0]), endpoints.get(region, endpoints["us"])


def _post(endpoint: str, body: Mapping[str, object], message: Message, **headers: str) -> str:
    answer = httpx.post(endpoint, json=body, headers=headers, timeout=message.within.total_seconds())
    return "" if answer.status_code in _TAKEN else f"the service answered {answer.status_code}: {answer.text}"
