"""PagerDuty's webhooks, version 3.

Signed with HMAC-SHA-256; the header may hold several signatures while a secret is changed. `event.event_type` says what happened,
`event.data` is the incident; `agent` and `priority` may be null. Deliveries slower than 5 s are given up by the sender.
Format: https://developer.pagerduty.com/docs/webhooks-overview and https://developer.pagerduty.com/docs/verifying-webhook-signatures
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.alerts import fields, secrets, times
from stopgap.alerts.model import Alert, Reader, Reading, Status, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.alerts.model import Delivery
    from stopgap.policy.alerting import Source

HEADER = "x-pagerduty-signature"
_EVENTS = {
    "incident.triggered": Status.FIRING, "incident.reopened": Status.FIRING, "incident.escalated": Status.FIRING,
    "incident.unacknowledged": Status.FIRING, "incident.priority_updated": Status.FIRING, "incident.acknowledged": Status.ACKNOWLEDGED,
    "incident.resolved": Status.RESOLVED,
}  # fmt: skip


class PagerDuty(Reader):
    """Reads PagerDuty's events about incidents; others are accepted and mean nothing."""

    def authenticate(self, source: Source, delivery: Delivery) -> None:
        """Check `v1=...` signatures."""
        given = [part.strip().removeprefix("v1=") for part in delivery.headers.get(HEADER, "").split(",") if part.strip().startswith("v1=")]
        secrets.require_signature(source, delivery, given=given, header="X-PagerDuty-Signature")

    def read(self, source: Source, delivery: Delivery) -> Reading:
        """Return the incident that the event is about."""
        body = fields.mapping(fields.parse(delivery.body), "The body")
        event = fields.mapping(body.get("event"), '"event"')
        kind = fields.require(event, "event_type", '"event"')
        status, data = _EVENTS.get(kind), event.get("data")
        if status is None or not isinstance(data, dict) or data.get("type", "incident") != "incident":
            return Reading(alerts=(), body=body, id=fields.text(event.get("id")), remark=f"{kind} means nothing here")
        return Reading(alerts=(_alert(source.name, event, data, status),), body=body, id=fields.text(event.get("id")))


def _alert(source: str, event: Mapping[str, Any], data: Mapping[str, Any], status: Status) -> Alert:
    if fields.text(data.get("status")) == "resolved":
        status = Status.RESOLVED  # an event that was overtaken on its way
    identity = fields.require(data, "id", '"event.data"')
    at = times.moment(event.get("occurred_at"))
    if identity.isspace():
        raise UnreadableError('"event.data" has an empty "id".')
    return Alert(
        source=source,
        key=fields.key(identity),
        status=status,
        title=fields.title(data.get("title"), data.get("summary")),
        severity=fields.text(fields.part(data, "priority", "summary")) or fields.text(data.get("urgency")),
        started=times.moment(data.get("created_at")),
        ended=at if status is Status.RESOLVED else None,
        at=at,
        labels={
            "service": fields.text(fields.part(data, "service", "summary")), "urgency": fields.text(data.get("urgency")),
            "incident_key": fields.text(data.get("incident_key")), "event": fields.text(event.get("event_type")),
        },
        url=fields.text(data.get("html_url")),
    )  # fmt: skip


READER = PagerDuty()
