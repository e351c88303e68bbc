"""New Relic's workflow webhooks, with the payload template of docs/alerts.md.

An issue is CREATED, ACTIVATED and CLOSED; its times are epochs in milliseconds. One issue is one alert.
Template: https://docs.newrelic.com/docs/alerts/get-notified/notification-integrations/#webhook
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.alerts import fields, times
from stopgap.alerts.model import Alert, Reader, Reading, Status, UnreadableError

if TYPE_CHECKING:
    from stopgap.alerts.model import Delivery
    from stopgap.policy.alerting import Source

_STATES = {"CREATED": Status.FIRING, "ACTIVATED": Status.FIRING, "CLOSED": Status.RESOLVED}


class NewRelic(Reader):
    """Reads what the template of docs/alerts.md makes New Relic post."""

    def read(self, source: Source, delivery: Delivery) -> Reading:
        """Return the one issue."""
        body = fields.mapping(fields.parse(delivery.body), "The body")
        state = fields.require(body, "state").upper()
        status = _STATES.get(state)
        if status is None:
            raise UnreadableError(f'There is no state "{state[:40]}"; there are CREATED, ACTIVATED and CLOSED.')
        found = Alert(
            source=source.name,
            key=fields.key(fields.require(body, "id")),
            status=Status.ACKNOWLEDGED if status is Status.FIRING and fields.text(body.get("acknowledgedAt")).isdigit() else status,
            title=fields.title(body.get("title")),
            severity=fields.text(body.get("priority")),
            started=times.moment(body.get("createdAt")),
            ended=times.moment(body.get("closedAt")) if status is Status.RESOLVED else None,
            at=times.moment(body.get("updatedAt")),
            labels={
                **fields.texts(body.get("labels")),
                "condition": fields.text(body.get("condition")),
                "policy": fields.text(body.get("policy")),
            },
            url=fields.text(body.get("issueUrl")),
        )
        return Reading(alerts=(found,), body=body)


READER = NewRelic()
