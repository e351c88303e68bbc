"""From a delivery to an incident and one run, at a real receiver on a real timeline."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fixtures_alerts import alert, group_of

if TYPE_CHECKING:
    from fixtures_alerts import Desk

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def test_a_firing_alert_is_accepted_opens_an_incident_and_asks_for_one_run(desk: Desk) -> None:
    answer = desk.post(sample("alertmanager-01-firing-1alerts"))
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    desk.settle()
    (incident,) = desk.incidents()
    assert (incident.id, incident.title, str(incident.severity), incident.opened_by) == (
        "INC-1",
        "checkout error rate is 7",
        "SEV1",
        "stopgap",
    )
    assert desk.kinds("INC-1") == ["incident.opened", "alert.opened", "run.requested"]
    assert desk.texts("alert.opened") == ["checkout error rate is 7 (alertmanager) fires: tell starts"]
    assert [run.id for run in desk.handed] == ["INC-1.1"]
    (received,) = desk.received()
    assert received.data["body"] == sample("alertmanager-01-firing-1alerts")


def test_the_recorded_life_of_a_group_gives_one_incident_and_one_run_for_each_alert(desk: Desk) -> None:
    names = ["01-firing-1alerts", "02-firing-2alerts", "03-firing-3alerts", "04-firing-3alerts", "04-repeat-unchanged", "05-firing-3alerts"]
    for name in [*names, "06-resolved-2alerts"]:
        assert desk.post(sample(f"alertmanager-{name}")).status_code == 202
    desk.settle()
    every = {each["fingerprint"] for name in names for each in sample(f"alertmanager-{name}")["alerts"]}
    assert len(desk.incidents()) == len(every)
    assert len(desk.texts("alert.opened")) == len(every)


def test_repeats_start_nothing_more_and_are_counted(desk: Desk) -> None:
    began = datetime.now(UTC)
    for _ in range(5):
        desk.tell(alert(started=began))
    assert desk.runs() == ["INC-1.1"]
    assert desk.kinds("INC-1") == ["incident.opened", "alert.opened", "run.requested"]
    (episode,) = desk.timeline.intake.episodes_of("INC-1")
    assert (episode.deliveries, episode.number, episode.is_open) == (5, 1, True)


def test_two_starts_seven_seconds_apart_are_one_episode(desk: Desk) -> None:
    began = datetime.now(UTC)
    desk.tell(alert(started=began))
    desk.tell(alert(started=began + timedelta(seconds=7)))
    desk.tell(alert(started=began))
    assert desk.runs() == ["INC-1.1"]


def test_an_end_cancels_the_run_that_has_changed_nothing_and_mitigates_the_incident(desk: Desk) -> None:
    desk.tell(alert())
    desk.tell(alert(status="resolved"))
    assert desk.kinds("INC-1") == [
        "incident.opened", "alert.opened", "run.requested", "alert.resolved", "incident.mitigated", "run.abort_asked",
    ]  # fmt: skip
    assert desk.texts("alert.resolved") == ["HighErrorRate of all: over, says alertmanager. INC-1.1 had changed nothing yet, and ends."]


def test_an_alert_without_a_runbook_opens_an_incident_that_says_so(desk: Desk) -> None:
    desk.tell(alert("DiskFull", severity="warning"))
    assert desk.kinds("INC-1") == ["incident.opened", "alert.opened"]
    assert desk.texts("alert.opened") == ["DiskFull of all (alertmanager) fires: nothing is started: no runbook has a trigger for it"]
    assert str(desk.incidents()[0].severity) == "SEV3"


def test_a_wrong_token_is_refused_and_leaves_nothing(desk: Desk) -> None:
    answer = desk.post(group_of(alert()), token="guessed")
    assert (answer.status_code, answer.json()) == (401, {"error": "This is not the secret of alertmanager."})
    assert desk.received() == ()


def test_what_cannot_be_read_is_kept_as_it_came_and_refused_with_a_reason(desk: Desk) -> None:
    answer = desk.post(b'{"version": "3"}')
    assert (answer.status_code, answer.json()) == (400, {"error": 'The body is of version "3"; Alertmanager posts version 4.'})
    (kept,) = desk.received()
    assert (kept.kind, kept.data["body"]) == ("alert.unreadable", '{"version": "3"}')


def test_a_source_that_policy_does_not_name_is_not_found(desk: Desk) -> None:
    answer = desk.post(group_of(alert()), source="grafana")
    assert (answer.status_code, answer.json()) == (404, {"error": "policy.yaml names no such source of alerts; it names alertmanager."})
