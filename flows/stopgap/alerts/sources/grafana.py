"""Grafana's unified alerting, webhook contact point.

Its alerts have Alertmanager's shape; `version` is "1", and `generatorURL` may be relative to `externalURL`. A rule without data or with an error
fires as DatasourceNoData or DatasourceError, with a fingerprint of its own: its trigger can name that.
Format: https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from stopgap.alerts import fields
from stopgap.alerts.model import Reader, Reading
from stopgap.alerts.sources import alertmanager

if TYPE_CHECKING:
    from stopgap.alerts.model import Alert, Delivery
    from stopgap.policy.alerting import Source


class Grafana(Reader):
    """Reads what Grafana posts."""

    def read(self, source: Source, delivery: Delivery) -> Reading:
        """Return every alert of the group."""
        body = fields.mapping(fields.parse(delivery.body), "The body")
        every = fields.listed(body.get("alerts"), '"alerts"')
        base = fields.text(body.get("externalURL"))
        found = tuple(
            _absolute(alertmanager.alert(source.name, fields.mapping(each, f"alerts[{index}]"), f"alerts[{index}]"), base)
            for index, each in enumerate(every)
        )
        left_out = body.get("truncatedAlerts")
        remark = f"Grafana left {left_out} alerts of this group out" if isinstance(left_out, int) and left_out > 0 else ""
        return Reading(alerts=found, body=body, remark=remark)


def _absolute(alert: Alert, base: str) -> Alert:
    """Make its address whole; one that is none is left as it is."""
    try:
        return replace(alert, url=urljoin(base, alert.url))
    except ValueError:
        return alert


READER = Grafana()
