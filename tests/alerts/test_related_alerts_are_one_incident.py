"""Alerts with the same labels that policy names belong to one incident, and start one run of a runbook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures_alerts import alert, serving
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fixtures_alerts import Desk


@pytest.fixture
def grouped(stopgap_home: Path, alert_rules: Path) -> Iterator[Desk]:
    assert stopgap_home
    with (alert_rules / "policy.yaml").open("a") as policy:
        policy.write("  group: {by: [service], window: 10m}\n")
    with opening.timeline() as timeline, serving(timeline, alert_rules) as found:
        yield found


def test_alerts_of_one_service_share_an_incident_and_other_services_do_not(grouped: Desk) -> None:
    grouped.tell(alert("HighErrorRate", service="shop"), alert("DiskFull", service="shop"), alert("DiskFull", service="mail"))
    assert [(each.id, sorted(key for _, key in each.firing)) for each in grouped.incidents()] == [
        ("INC-1", ["DiskFull-shop", "HighErrorRate-shop"]),
        ("INC-2", ["DiskFull-mail"]),
    ]
    grouped.tell(alert("HighErrorRate", service="shop", status="resolved"))
    assert grouped.incidents()[0].mitigated_at is None
    grouped.tell(alert("DiskFull", service="shop", status="resolved"))
    assert grouped.incidents()[0].mitigated_at is not None


def test_an_alert_without_the_label_is_related_to_none(grouped: Desk) -> None:
    grouped.tell(alert("DiskFull"), alert("HighErrorRate"))
    assert [each.id for each in grouped.incidents()] == ["INC-1", "INC-2"]


def test_a_related_alert_starts_no_second_run_of_the_same_runbook(grouped: Desk) -> None:
    both = [{**alert("HighErrorRate", service="shop", pod=pod), "fingerprint": pod} for pod in ("a", "b")]
    grouped.tell(*both)
    assert grouped.runs() == ["INC-1.1"]
    assert grouped.texts("alert.opened")[1] == (
        "HighErrorRate of shop (alertmanager) fires: tell is not started: INC-1.1 is still going on for a related alert"
    )


def test_what_was_resolved_is_joined_by_nothing(grouped: Desk) -> None:
    from stopgap.incidents import changes

    grouped.tell(alert("DiskFull", service="shop"))
    changes.resolve(grouped.timeline, grouped.incidents()[0], person="ada", reason="", sure=True)
    grouped.tell(alert("DiskSlow", service="shop"))
    assert [each.id for each in grouped.incidents()] == ["INC-1", "INC-2"]
