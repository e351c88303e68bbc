"""One delivery or more of each kind of source, after the vendor's page that the source's module names.

Alertmanager's were recorded, from Debian's 0.25 (samples/); the others follow the documentation (`documented`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A body, its headers, and what must be read from it: (key, status, severity, start)."""

    kind: str
    body: Any
    wanted: tuple[tuple[str, str, str, str], ...]
    headers: dict[str, str] = field(default_factory=dict)
    origin: str = "documented"

    @property
    def raw(self) -> bytes:
        return json.dumps(self.body).encode()


def recorded(name: str) -> Any:
    """What Alertmanager 0.25 really sent."""
    return json.loads((Path(__file__).parent / "samples" / f"alertmanager-{name}.json").read_text())


GRAFANA = {
    "receiver": "stopgap", "status": "firing", "orgId": 1, "version": "1", "groupKey": "{}:{}", "truncatedAlerts": 2,
    "externalURL": "https://play.grafana.org/", "title": "[FIRING:1]", "state": "alerting", "message": "x",
    "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
    "alerts": [{
        "status": "firing", "labels": {"alertname": "High memory usage", "team": "blue", "severity": "critical"},
        "annotations": {"summary": "Memory is high"}, "startsAt": "2021-10-12T09:51:03.157076+02:00", "endsAt": "0001-01-01T00:00:00Z",
        "values": {"B": 44.23}, "generatorURL": "alerting/1afz29v7z/edit", "fingerprint": "c6eadffa33fcdf37",
        "silenceURL": "https://play.grafana.org/alerting/silence/new", "dashboardURL": "", "panelURL": "",
    }],
}  # fmt: skip
DATADOG = {
    "id": "6511112222", "transition": "Triggered", "cycle": "15821233840", "monitor": "42", "scope": "host:web-1", "priority": "P2",
    "type": "error", "title": "[Triggered] CPU is high", "message": "text", "tags": "env:prod,team:web,standalone", "at": "1763775000000",
    "link": "https://app.datadoghq.com/monitors/42",
}  # fmt: skip
NEW_RELIC = {
    "id": "4f6e", "issueUrl": "https://one.newrelic.com/x", "title": "High CPU", "priority": "CRITICAL", "state": "ACTIVATED",
    "createdAt": 1763775000000, "updatedAt": 1763775060000, "closedAt": None, "acknowledgedAt": None, "condition": "cpu", "policy": "golden",
    "labels": {"team": "web"},
}  # fmt: skip
PAGERDUTY: dict[str, Any] = {"event": {
    "id": "01BZ5V0QEV", "event_type": "incident.triggered", "resource_type": "incident", "occurred_at": "2020-10-02T18:45:22.169Z", "agent": None,
    "client": None, "data": {
        "id": "PGR0VU2", "type": "incident", "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2", "number": 2, "status": "triggered",
        "incident_key": "d3640fbd", "created_at": "2020-04-09T15:16:27Z", "title": "A little bump in the road",
        "service": {"id": "PF9KMXH", "type": "service_reference", "summary": "API Service"}, "assignees": [], "priority": None, "urgency": "high",
    },
}}  # fmt: skip
OPSGENIE = {"source": {"name": "", "type": "web"}, "alert": {
    "alertId": "052652ac", "message": "test alert", "tags": ["tag1", "tag2"], "tinyId": "23", "entity": "E", "alias": "052652ac-alias",
    "createdAt": 1763775000000, "updatedAt": 1763775060000000000, "username": "u", "userId": "x", "priority": "P3", "details": {"a": 1},
}, "action": "Create", "integrationId": "b2b2", "integrationName": "w"}  # fmt: skip
SENTRY_EVENT = {"action": "triggered", "installation": {"uuid": "a8e5"}, "data": {
    "event": {"issue_id": "1117540176", "title": "ReferenceError: heck is not defined", "level": "error", "datetime": "2019-08-19T20:58:37.391000Z",
              "web_url": "https://sentry.io/x", "project": 1, "platform": "javascript"},
    "triggered_rule": "Very Important Alert Rule!"}, "actor": {"type": "application"}}  # fmt: skip
SENTRY_METRIC = {"action": "resolved", "data": {
    "metric_alert": {"id": "5", "date_started": "2024-01-01T00:00:00Z", "date_closed": "2024-01-01T00:10:00Z", "alert_rule": {"name": "slow"}},
    "description_text": "t", "description_title": "Resolved: slow", "web_url": "https://sentry.io/y"}}  # fmt: skip
ALARM: dict[str, Any] = {
    "AlarmName": "cpu", "AlarmDescription": None, "AWSAccountId": "123456789012", "NewStateValue": "ALARM", "NewStateReason": "Threshold Crossed",
    "StateChangeTime": "2026-11-22T01:30:00.000+0000", "Region": "EU (Ireland)", "AlarmArn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:cpu",
    "OldStateValue": "OK", "Trigger": {"MetricName": "CPU", "Dimensions": [{"value": "i-1", "name": "InstanceId"}]},
}  # fmt: skip
GENERIC = {"things": [{"name": "disk", "bad": True, "since": 1763775000}, {"name": "net", "bad": False, "since": 1763775000}]}
GENERIC_FIELDS = {"each": "body.things", "key": "item.name", "status": "item.bad ? 'firing' : 'resolved'", "started": "item.since"}

START = "2025-11-22T01:30:00"
PAYLOADS = (
    Payload(kind="alertmanager", body=recorded("01-firing-1alerts"), wanted=(("e2e80578a0a1bea3", "firing", "critical", "2026-11-21T21:35:24"),), origin="recorded"),
    Payload(
        kind="alertmanager", body=recorded("06-resolved-2alerts"), origin="recorded",
        wanted=(("e2e80578a0a1bea3", "resolved", "critical", "2026-11-21T21:35:24"), ("9b04c1175bbc3f8f", "resolved", "critical", "2026-11-21T21:35:34")),
    ),
    Payload(kind="grafana", body=GRAFANA, wanted=(("c6eadffa33fcdf37", "firing", "critical", "2021-10-12T07:51:03"),)),
    Payload(kind="datadog", body=DATADOG, wanted=(("42/host:web-1", "firing", "P2", START),)),
    Payload(kind="datadog", body={**DATADOG, "transition": "Recovered"}, wanted=(("42/host:web-1", "resolved", "P2", ""),)),
    Payload(kind="datadog", body={**DATADOG, "transition": "Warn"}, wanted=(("42/host:web-1", "firing", "P2", START),)),
    Payload(kind="datadog", body={**DATADOG, "transition": "No Data"}, wanted=(("42/host:web-1", "unknown", "P2", ""),)),
    Payload(kind="new-relic", body=NEW_RELIC, wanted=(("4f6e", "firing", "CRITICAL", START),)),
    Payload(kind="new-relic", body={**NEW_RELIC, "state": "CLOSED"}, wanted=(("4f6e", "resolved", "CRITICAL", START),)),
    Payload(kind="pagerduty", body=PAGERDUTY, wanted=(("PGR0VU2", "firing", "high", "2020-04-09T15:16:27"),)),
    Payload(kind="opsgenie", body=OPSGENIE, wanted=(("052652ac-alias", "firing", "P3", START),)),
    Payload(kind="opsgenie", body={**OPSGENIE, "action": "Close"}, wanted=(("052652ac-alias", "resolved", "P3", START),)),
    Payload(kind="opsgenie", body={**OPSGENIE, "action": "AddNote"}, wanted=()),
    Payload(kind="sentry", body=SENTRY_EVENT, wanted=(("issue/1117540176", "firing", "error", "2019-08-19T20:58:37"),), headers={"sentry-hook-resource": "event_alert"}),
    Payload(kind="sentry", body=SENTRY_METRIC, wanted=(("metric/5", "resolved", "resolved", "2024-01-01T00:00:00"),), headers={"sentry-hook-resource": "metric_alert"}),
    Payload(kind="sentry", body=SENTRY_METRIC, wanted=()),
    Payload(kind="cloudwatch", body={"Type": "Notification", "MessageId": "m", "TopicArn": "t", "Message": json.dumps(ALARM)}, wanted=((ALARM["AlarmArn"], "firing", "", "2026-11-22T01:30:00"),)),
    Payload(kind="cloudwatch", body={"Type": "SubscriptionConfirmation", "MessageId": "m", "TopicArn": "t", "SubscribeURL": "http://evil"}, wanted=()),
    Payload(kind="generic", body=GENERIC, wanted=(("disk", "firing", "", START), ("net", "resolved", "", START))),
)  # fmt: skip
