"""What each kind of source posts is read as alerts, and who did not prove who they are is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from fuzzing import FUZZED, bodies
from hypothesis import HealthCheck, given, settings
from payloads import ALARM, GENERIC_FIELDS, PAGERDUTY, PAYLOADS, Payload

from stopgap.alerts.model import Delivery, ForbiddenError, UnreadableError
from stopgap.alerts.sources import READERS, cloudwatch
from stopgap.policy.alerting import KINDS, Secret, Source

TOPIC = "arn:aws:sns:eu-west-1:123456789012:alarms"


def source(kind: str, **more: Any) -> Source:
    return Source(name=kind, kind=kind, fields=GENERIC_FIELDS, topics=(TOPIC,), **more)


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.kind)
def test_what_a_vendor_documents_is_read_as_its_page_says(payload: Payload) -> None:
    reading = READERS[payload.kind].read(source(payload.kind), Delivery(headers=payload.headers, body=payload.raw))
    found = tuple(
        (each.key, str(each.status), each.severity, each.started.isoformat()[:19] if each.started else "") for each in reading.alerts
    )
    assert found == payload.wanted


def test_grafanas_relative_address_is_made_whole_and_what_it_left_out_is_said() -> None:
    payload = next(each for each in PAYLOADS if each.kind == "grafana")
    reading = READERS["grafana"].read(source("grafana"), Delivery(headers={}, body=payload.raw))
    assert reading.alerts[0].url == "https://play.grafana.org/alerting/1afz29v7z/edit"
    assert reading.remark == "Grafana left 2 alerts of this group out"


def test_every_kind_that_policy_allows_has_a_reader() -> None:
    assert set(KINDS) == set(READERS)


@pytest.mark.parametrize(
    ("kind", "header", "prefix"), [("pagerduty", "x-pagerduty-signature", "v1="), ("sentry", "sentry-hook-signature", "")]
)
def test_a_signature_must_be_of_this_body_under_this_secret(kind: str, header: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "the old one\nthe new one")
    body = json.dumps(PAGERDUTY).encode()
    made = source(kind, secret=Secret(variable="A_SECRET"))
    for secret in ("the old one", "the new one"):
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        READERS[kind].authenticate(made, Delivery(headers={header: f"{prefix}{signature}"}, body=body))
        with pytest.raises(ForbiddenError, match="was not made with the secret"):
            READERS[kind].authenticate(made, Delivery(headers={header: f"{prefix}{signature}"}, body=body + b" "))
    with pytest.raises(ForbiddenError, match="need a signature"):
        READERS[kind].authenticate(made, Delivery(headers={}, body=body))


@pytest.fixture(scope="module")
def signer() -> tuple[rsa.RSAPrivateKey, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")]), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return key, made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def message(key: rsa.RSAPrivateKey, **changed: str) -> dict[str, str]:
    """A notification of SNS, signed after its page."""
    found = {
        "Type": "Notification", "MessageId": "22b80b92", "TopicArn": TOPIC, "Message": json.dumps(ALARM), "SignatureVersion": "2",
        "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef01234567.pem", **changed,
    }  # fmt: skip
    names = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    signed = "".join(f"{name}\n{found[name]}\n" for name in names if name in found)
    found["Signature"] = base64.b64encode(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
    return found


def test_a_message_of_sns_counts_only_signed_fresh_and_from_a_listed_topic(signer: tuple[rsa.RSAPrivateKey, bytes]) -> None:
    key, pem = signer
    asked: list[str] = []

    def certificate(url: str) -> bytes:
        asked.append(url)
        return pem

    reader = cloudwatch.CloudWatch(certificate)

    def verdict(**changed: str) -> str:
        sent = {**message(key, **{name: value for name, value in changed.items() if not name.startswith("x")})}
        if "x_tampered" in changed:
            sent["Message"] = sent["Message"].replace("ALARM", "OK")
        try:
            reader.authenticate(source("cloudwatch"), Delivery(headers={}, body=json.dumps(sent).encode()))
        except ForbiddenError as error:
            return str(error)
        return "fine"

    assert verdict() == "fine"
    assert verdict(Message="x" * 9_000) == "fine"
    assert verdict(x_tampered="yes") == "The signature was not made by SNS, or not of this message."
    assert verdict(TopicArn=f"{TOPIC}-of-another") == "policy.yaml lists no such topic for cloudwatch."
    assert verdict(Timestamp="2020-01-01T00:00:00.000Z").startswith("The message is older than an hour")
    asked.clear()
    for url in (
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0123456789abcdef01234567.pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef01234567.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef01234567.pem",
        "https://user@sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef01234567.pem",
        "https://[", "", "file:///etc/passwd",
    ):  # fmt: skip
        assert verdict(SigningCertURL=url) == "The certificate does not come from an address of SNS."
    assert asked == []


@pytest.mark.timeout(7200)
@settings(max_examples=FUZZED, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies())
def test_whatever_is_posted_is_read_or_refused_with_a_sentence(case: tuple[str, dict[str, str], bytes]) -> None:
    kind, headers, body = case
    reading, why_not = None, ""
    try:
        reading = READERS[kind].read(source(kind), Delivery(headers=headers, body=body))
    except (UnreadableError, ForbiddenError) as error:
        why_not = str(error).strip()
    assert reading or why_not
    for alert in reading.alerts if reading else ():
        assert alert.key
        assert len(alert.key) <= 200
        assert type(alert).from_json(alert.to_json()) == alert
        json.dumps(alert.to_json()).encode()
