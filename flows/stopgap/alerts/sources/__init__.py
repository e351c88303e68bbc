"""The kinds of sources, each a module with its `READER`; a new one is a module and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.alerts.sources import alertmanager, cloudwatch, datadog, generic, grafana, new_relic, opsgenie, pagerduty, sentry

if TYPE_CHECKING:
    from stopgap.alerts.model import Reader

SIGNED = frozenset({"cloudwatch"})  # by the sender, so that there is no secret to share
READERS: dict[str, Reader] = {
    "alertmanager": alertmanager.READER,
    "grafana": grafana.READER,
    "datadog": datadog.READER,
    "new-relic": new_relic.READER,
    "pagerduty": pagerduty.READER,
    "cloudwatch": cloudwatch.READER,
    "opsgenie": opsgenie.READER,
    "sentry": sentry.READER,
    "generic": generic.READER,
}
