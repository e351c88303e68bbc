"""Anything else that posts JSON, read by the expressions of policy.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.alerts import fields, times
from stopgap.alerts.model import Alert, Reader, Reading, Status, UnreadableError
from stopgap.problems import StopgapError
from stopgap.runbook import expressions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.alerts.model import Delivery
    from stopgap.policy.alerting import Source

_MOST = 1_000  # alerts in one delivery


class Generic(Reader):
    """Reads a body with expressions over `body`, `headers` and, with `each`, `item`."""

    def read(self, source: Source, delivery: Delivery) -> Reading:
        """Return what the expressions find."""
        body = fields.parse(delivery.body)
        headers = {name: value for name, value in delivery.headers.items() if name not in {"authorization", "cookie"}}
        known: dict[str, Any] = {"body": body, "headers": headers}
        items = _value(source, "each", known) if "each" in source.fields else [body]
        found = tuple(_alert(source, {**known, "item": item}) for item in fields.listed(items, '"each"')[:_MOST])
        return Reading(alerts=found, body=body, id=fields.text(_value(source, "delivery", known)))


def _alert(source: Source, known: Mapping[str, Any]) -> Alert:
    values = {name: _value(source, name, known) for name in source.fields if name not in {"each", "delivery"}}
    word = fields.text(values.get("status")).lower()
    if word not in set(Status):
        raise UnreadableError(f'"status" gives "{word[:40]}"; it must give {", ".join(Status)}.')
    key = fields.key(fields.text(values.get("key")))
    if not key:
        raise UnreadableError('"key" gives nothing.')
    return Alert(
        source=source.name,
        key=key,
        status=Status(word),
        title=fields.title(values.get("title"), key),
        severity=fields.text(values.get("severity")),
        started=times.moment(values.get("started")),
        ended=times.moment(values.get("ended")),
        labels=fields.texts(values.get("labels")),
        annotations=fields.texts(values.get("annotations")),
        url=fields.text(values.get("url")),
    )


def _value(source: Source, name: str, known: Mapping[str, Any]) -> Any:
    expression = source.fields.get(name)
    if expression is None:
        return None
    try:
        return expressions.render(f"${{{{ {expression} }}}}", known)
    except StopgapError as error:
        raise UnreadableError(f'"{name}" of {source.name} in policy.yaml: {error}') from error


READER = Generic()
