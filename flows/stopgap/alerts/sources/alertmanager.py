"""Prometheus Alertmanager, webhook version 4.

Each alert of a group has its own status; `fingerprint` is the hash of its labels, the same from firing to resolved. Of an open one `endsAt` is
Go's zero time. Above `max_alerts` the rest is left out and only counted (`truncatedAlerts`).
Format: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.alerts import fields, times
from stopgap.alerts.model import Alert, Reader, Reading, Status, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.alerts.model import Delivery
    from stopgap.policy.alerting import Source

VERSION = "4"
_STATUSES = {"firing": Status.FIRING, "resolved": Status.RESOLVED}


class Alertmanager(Reader):
    """Reads what Alertmanager posts."""

    def read(self, source: Source, delivery: Delivery) -> Reading:
        """Return every alert of the group."""
        body = fields.mapping(fields.parse(delivery.body), "The body")
        if fields.text(body.get("version")) != VERSION:
            raise UnreadableError(
                f'The body is of version "{fields.text(body.get("version"))[:20]}"; Alertmanager posts version {VERSION}.'
            )
        every = fields.listed(body.get("alerts"), '"alerts"')
        found = tuple(alert(source.name, fields.mapping(each, f"alerts[{index}]"), f"alerts[{index}]") for index, each in enumerate(every))
        left_out = body.get("truncatedAlerts")
        remark = f"Alertmanager left {left_out} alerts of this group out" if isinstance(left_out, int) and left_out > 0 else ""
        return Reading(alerts=found, body=body, remark=remark)


def alert(source: str, data: Mapping[str, Any], where: str) -> Alert:
    """Read one alert of a group; Grafana's have the same shape."""
    status = _STATUSES.get(fields.text(data.get("status")))
    if status is None:
        raise UnreadableError(f'{where} has the status "{fields.text(data.get("status"))[:20]}"; there are firing and resolved.')
    labels, annotations = fields.texts(data.get("labels")), fields.texts(data.get("annotations"))
    fingerprint = fields.text(data.get("fingerprint")) or ",".join(f"{name}={labels[name]}" for name in sorted(labels))
    if not fingerprint:
        raise UnreadableError(f"{where} has neither a fingerprint nor labels.")
    return Alert(
        source=source,
        key=fields.key(fingerprint),
        status=status,
        title=fields.title(annotations.get("summary"), labels.get("alertname"), annotations.get("description")),
        severity=labels.get("severity", ""),
        started=times.moment(data.get("startsAt")),
        ended=times.moment(data.get("endsAt")) if status is Status.RESOLVED else None,
        labels=labels,
        annotations=annotations,
        url=fields.text(data.get("generatorURL")),
    )


READER = Alertmanager()
