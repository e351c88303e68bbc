"""Datadog's webhooks integration, with the payload of docs/alerts.md.

Every value is a text. `$ALERT_CYCLE_KEY` is the same from Triggered to Recovered and is the episode; the alert itself is the monitor and its
scope, because a new cycle of the same monitor is the same alert again. `$ALERT_TRANSITION` says what happened.
Variables: https://docs.datadoghq.com/integrations/webhooks/#variables
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.alerts import fields, times
from stopgap.alerts.model import Alert, Reader, Reading, Status, UnreadableError

if TYPE_CHECKING:
    from stopgap.alerts.model import Delivery
    from stopgap.policy.alerting import Source

_TRANSITIONS = {
    "triggered": Status.FIRING, "re-triggered": Status.FIRING, "renotify": Status.FIRING, "warn": Status.FIRING, "re-warn": Status.FIRING,
    "no data": Status.UNKNOWN, "re-no data": Status.UNKNOWN, "recovered": Status.RESOLVED,
}  # fmt: skip


class Datadog(Reader):
    """Reads what the template of docs/alerts.md makes Datadog post."""

    def read(self, source: Source, delivery: Delivery) -> Reading:
        """Return the one alert."""
        body = fields.mapping(fields.parse(delivery.body), "The body")
        transition = fields.require(body, "transition")
        status = _TRANSITIONS.get(transition.lower())
        if status is None:
            raise UnreadableError(f'There is no transition "{transition[:40]}"; is the payload that of docs/alerts.md?')
        monitor = fields.text(body.get("monitor")) or fields.require(body, "cycle")
        at = times.moment(body.get("at"))
        found = Alert(
            source=source.name,
            key=fields.key(f"{monitor}/{fields.text(body.get('scope'))}"),
            status=status,
            title=fields.title(body.get("title")),
            severity=fields.text(body.get("priority")) or fields.text(body.get("type")),
            started=at if status is Status.FIRING else None,
            ended=at if status is Status.RESOLVED else None,
            at=at,
            labels={**fields.tags(body.get("tags")), "monitor": monitor, "transition": transition},
            annotations={"message": fields.text(body.get("message")), "cycle": fields.text(body.get("cycle"))},
            url=fields.text(body.get("link")),
        )
        return Reading(alerts=(found,), body=body, id=fields.text(body.get("id")))


READER = Datadog()
