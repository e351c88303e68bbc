"""Opsgenie's webhook integration.

`alias` is the episode. Of one alert, `createdAt` is in milliseconds and `updatedAt` in nanoseconds.
Format: https://support.atlassian.com/opsgenie/docs/opsgenie-edge-connector-alert-action-data/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.alerts import fields, times
from stopgap.alerts.model import Alert, Reader, Reading, Status

if TYPE_CHECKING:
    from stopgap.alerts.model import Delivery
    from stopgap.policy.alerting import Source

_ACTIONS = {
    "Create": Status.FIRING, "Escalate": Status.FIRING, "UnAcknowledge": Status.FIRING, "UpdatePriority": Status.FIRING,
    "Acknowledge": Status.ACKNOWLEDGED, "Close": Status.RESOLVED, "Delete": Status.RESOLVED,
}  # fmt: skip


class Opsgenie(Reader):
    """Reads what Opsgenie posts about an alert; actions that say nothing of its state are accepted and mean nothing."""

    def read(self, source: Source, delivery: Delivery) -> Reading:
        """Return the one alert."""
        body = fields.mapping(fields.parse(delivery.body), "The body")
        action = fields.require(body, "action")
        status = _ACTIONS.get(action)
        if status is None:
            return Reading(alerts=(), body=body, remark=f"{action[:40]} means nothing here")
        data = fields.mapping(body.get("alert"), '"alert"')
        at = times.moment(data.get("updatedAt"))
        found = Alert(
            source=source.name,
            key=fields.key(fields.text(data.get("alias")) or fields.require(data, "alertId", '"alert"')),
            status=status,
            title=fields.title(data.get("message")),
            severity=fields.text(data.get("priority")),
            started=times.moment(data.get("createdAt")),
            ended=at if status is Status.RESOLVED else None,
            at=at,
            labels={**fields.texts(data.get("details")), **fields.tags(data.get("tags")), "entity": fields.text(data.get("entity"))},
            annotations={"description": fields.text(data.get("description"))},
        )
        return Reading(alerts=(found,), body=body)


READER = Opsgenie()
