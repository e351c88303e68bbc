"""Sentry's integration platform: issue alerts and metric alerts.

Signed with HMAC-SHA-256 of the body under the integration's client secret. The header `Sentry-Hook-Resource` says what the body is. An
`event_alert` never resolves: its episode ends when it is stale. A `metric_alert` does, and `issue` does when somebody resolves the issue.
Format: https://docs.sentry.io/organization/integrations/integration-platform/webhooks/
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from stopgap.alerts import fields, secrets, times
from stopgap.alerts.model import Alert, Reader, Reading, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.alerts.model import Delivery
    from stopgap.policy.alerting import Source

_METRIC = {"critical": Status.FIRING, "warning": Status.FIRING, "resolved": Status.RESOLVED, "open": Status.FIRING}


class Sentry(Reader):
    """Reads Sentry's alerts; other resources are accepted and mean nothing."""

    def authenticate(self, source: Source, delivery: Delivery) -> None:
        """Check the signature."""
        given = [delivery.headers.get("sentry-hook-signature", "")]
        secrets.require_signature(source, delivery, given=given, header="Sentry-Hook-Signature")

    def read(self, source: Source, delivery: Delivery) -> Reading:
        """Return the one alert."""
        body = fields.mapping(fields.parse(delivery.body), "The body")
        resource, action = delivery.headers.get("sentry-hook-resource", ""), fields.text(body.get("action"))
        data = fields.mapping(body.get("data"), '"data"')
        found: Alert | None = None
        if resource == "event_alert" and action == "triggered":
            found = _event(source.name, data)
        elif resource == "metric_alert" and action in _METRIC:
            found = _metric(source.name, data, action)
        elif resource == "issue" and action == "resolved":
            found = _issue(source.name, data)
        remark = "" if found else f"{resource[:40] or 'a body without the header Sentry-Hook-Resource'} {action[:40]} means nothing here"
        # The header Request-ID is not signed, the body is: a body that is sent again is the same delivery.
        return Reading(alerts=(found,) if found else (), body=body, id=hashlib.sha256(delivery.body).hexdigest(), remark=remark)


def _event(source: str, data: Mapping[str, Any]) -> Alert:
    event = fields.mapping(data.get("event"), '"data.event"')
    rule = fields.text(data.get("triggered_rule"))
    return Alert(
        source=source,
        key=fields.key(f"issue/{fields.require(event, 'issue_id', 'data.event')}"),
        status=Status.FIRING,
        title=fields.title(event.get("title"), rule),
        severity=fields.text(event.get("level")),
        started=times.moment(event.get("datetime")),
        labels={"rule": rule, "project": fields.text(event.get("project")), "platform": fields.text(event.get("platform"))},
        url=fields.text(event.get("web_url")),
    )


def _metric(source: str, data: Mapping[str, Any], action: str) -> Alert:
    alert = fields.mapping(data.get("metric_alert"), '"data.metric_alert"')
    rule = fields.text(fields.part(alert, "alert_rule", "name"))
    return Alert(
        source=source,
        key=fields.key(f"metric/{fields.require(alert, 'id', 'data.metric_alert')}"),
        status=_METRIC[action],
        title=fields.title(data.get("description_title"), rule),
        severity=action,
        started=times.moment(alert.get("date_started")),
        ended=times.moment(alert.get("date_closed")) if action == "resolved" else None,
        labels={"rule": rule},
        annotations={"description": fields.text(data.get("description_text"))},
        url=fields.text(data.get("web_url")),
    )


def _issue(source: str, data: Mapping[str, Any]) -> Alert:
    issue = fields.mapping(data.get("issue"), '"data.issue"')
    return Alert(
        source=source,
        key=fields.key(f"issue/{fields.require(issue, 'id', 'data.issue')}"),
        status=Status.RESOLVED,
        title=fields.title(issue.get("title")),
        severity=fields.text(issue.get("level")),
    )


READER = Sentry()
