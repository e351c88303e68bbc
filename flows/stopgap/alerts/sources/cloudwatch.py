"""CloudWatch alarms through SNS.

`Message` is the alarm as a JSON text; its times end in `+0000`; it has no severity. INSUFFICIENT_DATA neither starts nor ends anything. The
signature is checked with the sender's certificate, which must come from an address of SNS; no other address in a body is ever fetched. A
subscription is not confirmed by us: its address is shown to whoever reads the log, for topics that policy.yaml lists.
Format: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stopgap.alerts import fields, signatures, times
from stopgap.alerts.model import Alert, ForbiddenError, Reader, Reading, Status, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stopgap.alerts.model import Delivery
    from stopgap.policy.alerting import Source

_HOST = re.compile(r"sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?")
_PATH = re.compile(r"/SimpleNotificationService-[0-9a-f]{20,64}\.pem")
_OLDEST = timedelta(hours=1)
_STATES = {"ALARM": Status.FIRING, "OK": Status.RESOLVED, "INSUFFICIENT_DATA": Status.UNKNOWN}


class CloudWatch(Reader):
    """Reads notifications of allowed topics. `certificate` gives the certificate that lies at an address of SNS."""

    def __init__(self, certificate: Callable[[str], bytes] = signatures.certificate) -> None:
        self._certificate = certificate

    def authenticate(self, source: Source, delivery: Delivery) -> None:
        """Check the topic, the age, the certificate's address and the signature."""
        message = _message(delivery)
        if message.get("TopicArn") not in source.topics:
            raise ForbiddenError(f"policy.yaml lists no such topic for {source.name}.")
        sent = times.moment(message.get("Timestamp"))
        if sent is None or abs(datetime.now(UTC) - sent) > _OLDEST:
            raise ForbiddenError("The message is older than an hour, or does not say when it was sent.")
        url = fields.text(message.get("SigningCertURL") or message.get("SigningCertUrl"))
        where = _split(url)
        if where is None or where.scheme != "https" or not _HOST.fullmatch(where.netloc) or not _PATH.fullmatch(where.path) or where.query:
            raise ForbiddenError("The certificate does not come from an address of SNS.")
        signatures.require(message, self._certificate(url))

    def read(self, source: Source, delivery: Delivery) -> Reading:
        """Return the alarm; a request to subscribe holds none."""
        message = _message(delivery)
        identity = fields.text(message.get("MessageId"))
        if message.get("Type") != "Notification":
            topic = fields.text(message.get("TopicArn"))
            remark = f"{fields.text(message.get('Type'))[:40]} of {topic}; confirm it yourself:  aws sns confirm-subscription --topic-arn {topic} --token <Token of this entry>"
            return Reading(alerts=(), body=dict(message), id=identity, remark=remark)
        inner = message.get("Message")
        if not isinstance(inner, str):
            raise UnreadableError('The body has no "Message".')
        alarm = fields.mapping(fields.parse(inner.encode(errors="replace")), '"Message"')
        return Reading(alerts=(_alert(source.name, alarm),), body={**message, "Message": alarm}, id=identity)


def _alert(source: str, alarm: Mapping[str, Any]) -> Alert:
    state = fields.require(alarm, "NewStateValue", '"Message"')
    if state not in _STATES:
        raise UnreadableError(f'There is no state "{state[:40]}"; there are {", ".join(_STATES)}.')
    name, at = fields.require(alarm, "AlarmName", '"Message"'), times.moment(alarm.get("StateChangeTime"))
    dimensions = fields.part(alarm, "Trigger", "Dimensions")
    pairs = {
        fields.text(fields.part(each, "name")): fields.text(fields.part(each, "value"))
        for each in dimensions or []
        if isinstance(each, dict)
    }
    return Alert(
        source=source,
        key=fields.key(fields.text(alarm.get("AlarmArn")) or name),
        status=_STATES[state],
        title=fields.title(name),
        started=at if state == "ALARM" else None,
        ended=at if state == "OK" else None,
        at=at,
        labels={**pairs, "alarm": name, "region": fields.text(alarm.get("Region")), "account": fields.text(alarm.get("AWSAccountId"))},
        annotations={"reason": fields.text(alarm.get("NewStateReason")), "description": fields.text(alarm.get("AlarmDescription"))},
    )


def _message(delivery: Delivery) -> Mapping[str, Any]:
    try:
        return fields.mapping(fields.parse(delivery.body), "The body")
    except UnreadableError as error:
        raise ForbiddenError(f"This is no message of SNS, so nobody signed it. {error}") from error


def _split(url: str) -> Any:
    try:
        return urlsplit(url)
    except ValueError:
        return None


READER = CloudWatch()
