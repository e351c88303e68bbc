"""From a request to the entry that accepts it: authenticate, read, and say what is to be written down before anybody is answered."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap.alerts import fields
from stopgap.alerts.model import Reading, UnreadableError
from stopgap.alerts.sources import READERS
from stopgap.timeline import chain
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from stopgap.alerts.model import Delivery
    from stopgap.policy.alerting import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What to append, and what was read; `why_not` says why nothing could be."""

    draft: Draft
    reading: Reading
    why_not: str = ""


def chain_of(receiver: str) -> str:
    """Return the chain on which a receiver accepts."""
    return f"{chain.RECEIVERS}{receiver}"


def receive(source: Source, delivery: Delivery, *, receiver: str) -> Received:
    """Authenticate and read a delivery. ForbiddenError for one that is not kept; NoSecretError when policy's secret is not there."""
    reader = READERS[source.kind]
    reader.authenticate(source, delivery)
    try:
        reading = reader.read(source, delivery)
    except UnreadableError as error:
        return Received(draft=_unreadable(source, delivery, receiver, str(error)), reading=Reading(alerts=()), why_not=str(error))
    return Received(draft=_received(source, receiver, reading), reading=reading)


def _received(source: Source, receiver: str, reading: Reading) -> Draft:
    count = len(reading.alerts)
    alerts = "1 alert" if count == 1 else f"{count} alerts"
    return Draft(
        chain=chain_of(receiver),
        kind="alert.received",
        actor=source.name,
        text=f"{alerts} from {source.name}{f': {reading.alerts[0].title}' if count else ''}{f'. {reading.remark}' if reading.remark else ''}",
        key=f"alert.received/{source.name}/{fields.key(reading.id)}" if reading.id else "",
        data={
            "source": source.name,
            "delivery": reading.id,
            "remark": reading.remark,
            "alerts": [each.to_json() for each in reading.alerts],
            "body": reading.body,
        },
    )


def _unreadable(source: Source, delivery: Delivery, receiver: str, why: str) -> Draft:
    return Draft(
        chain=chain_of(receiver),
        kind="alert.unreadable",
        actor=source.name,
        text=f"A delivery from {source.name} cannot be read: {why}",
        data={"source": source.name, "why": why, **_kept(delivery.body)},
    )


def _kept(body: bytes) -> dict[str, Any]:
    """Keep a body as it came."""
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}
