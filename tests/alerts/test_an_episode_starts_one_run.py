"""However an alert is told, repeated, reordered and by several receivers at once: one episode, one run."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from payloads import DATADOG

from fixtures_alerts import POLICY, RUNBOOK, alert, group_of, serving
from fixtures_engine import Ahead
from stopgap.alerts import storm
from stopgap.engine import journal
from stopgap.engine.intake import Intake
from stopgap.engine.rules import Watched
from stopgap.incidents import fold
from stopgap.incidents.model import RunEnd

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from fixtures_alerts import Desk

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)

CHANGE = {"now": "revision 2", "after": "revision 1"}


def finish(desk: Desk, run: str, end: RunEnd = RunEnd.DONE) -> None:
    journal.finished(desk.timeline, fold.find_run(desk.timeline, run), end, "it ended")


def test_an_end_that_overtakes_its_beginning_starts_nothing(desk: Desk) -> None:
    began = datetime.now(UTC) - MINUTE
    desk.tell(alert(status="resolved", started=began))
    desk.tell(alert(started=began))
    assert desk.runs() == []
    assert desk.incidents() == []


def test_a_late_delivery_from_before_the_end_starts_nothing_and_is_noted(desk: Desk) -> None:
    began = datetime.now(UTC) - MINUTE
    desk.tell(alert(started=began))
    finish(desk, "INC-1.1")
    desk.tell(alert(status="resolved", started=began))
    desk.tell(alert(started=began))
    assert desk.runs() == ["INC-1.1"]
    assert desk.texts("alert.changed") == [
        "HighErrorRate of all: alertmanager says that it fires, from before it said that it was over. Nothing is started for it."
    ]


def test_firing_again_within_the_cooldown_is_the_same_incident_and_starts_nothing(desk: Desk) -> None:
    desk.tell(alert())
    finish(desk, "INC-1.1")
    for _ in range(3):
        desk.tell(alert(status="resolved"))
        desk.tell(alert())
    assert desk.runs() == ["INC-1.1"]
    assert [incident.id for incident in desk.incidents()] == ["INC-1"]
    assert desk.texts("alert.opened")[1] == (
        "HighErrorRate of all (alertmanager) fires again: tell is not started: INC-1.1 ended well less than 15m ago"
    )


def test_a_run_that_failed_does_not_cool_down(desk: Desk) -> None:
    desk.tell(alert())
    finish(desk, "INC-1.1", RunEnd.FAILED)
    desk.tell(alert(status="resolved"))
    desk.tell(alert())
    assert desk.runs() == ["INC-1.1", "INC-1.2"]


def test_firing_again_while_its_run_goes_on_starts_no_second(desk: Desk) -> None:
    (desk.folder / "tell.yaml").write_text(RUNBOOK.replace("    cooldown: 15m\n", ""))
    desk.tell(alert())
    desk.timeline.append(fold.find_run(desk.timeline, "INC-1.1").draft("note", "it goes on"))
    desk.tell(alert(status="resolved"))
    desk.tell(alert())
    assert desk.runs() == ["INC-1.1"]
    assert desk.texts("alert.opened")[1].endswith("tell is not started: INC-1.1 is still going on")


def test_a_severity_that_rises_raises_the_incident_and_starts_nothing(desk: Desk) -> None:
    desk.tell(alert(severity="warning"))
    assert str(desk.incidents()[0].severity) == "SEV3"
    desk.tell(alert(severity="critical"))
    desk.tell(alert(severity="critical"))
    assert str(desk.incidents()[0].severity) == "SEV1"
    assert desk.kinds("INC-1").count("incident.severity") == 1
    assert desk.runs() == ["INC-1.1"]


def test_an_alert_older_than_its_trigger_allows_is_proposed(desk: Desk) -> None:
    (desk.folder / "tell.yaml").write_text(RUNBOOK.replace("cooldown: 15m", "expires: 10m"))
    desk.tell(alert(started=datetime.now(UTC) - 20 * MINUTE))
    run = fold.find_run(desk.timeline, "INC-1.1")
    assert run.proposed.startswith("the alert is 20m")
    assert run.proposed.endswith("old, and expires after 10m")


def test_a_run_that_cannot_begin_in_time_expires_with_its_trigger(desk: Desk) -> None:
    (desk.folder / "tell.yaml").write_text(RUNBOOK.replace("cooldown: 15m", "expires: 7m"))
    desk.tell(alert())
    assert fold.find_run(desk.timeline, "INC-1.1").expires == 7 * MINUTE


def test_warn_and_then_triggered_is_one_episode_that_got_worse(desk: Desk) -> None:
    rules = "    datadog: {open: true, severities: {P2: SEV2, P1: SEV1}}\n"
    (desk.folder / "policy.yaml").write_text(POLICY + rules)
    (desk.folder / "tell.yaml").write_text(RUNBOOK.replace("alertmanager", "datadog").replace("alertname: HighErrorRate", "env: prod"))
    for transition, priority in (("Warn", "P2"), ("Triggered", "P1"), ("Re-Triggered", "P1"), ("Renotify", "P1")):
        told = {**DATADOG, "id": transition, "transition": transition, "priority": priority}
        assert desk.post(told, source="datadog").status_code == 202
        desk.settle()
    assert desk.runs() == ["INC-1.1"]
    assert str(desk.incidents()[0].severity) == "SEV1"
    assert desk.kinds("INC-1") == ["incident.opened", "alert.opened", "run.requested", "incident.severity"]


def test_the_recovery_that_a_run_caused_starts_nothing_even_when_the_alert_comes_back(desk: Desk) -> None:
    desk.tell(alert())
    run = fold.find_run(desk.timeline, "INC-1.1")
    journal.scheduled(desk.timeline, run, "a flow run")
    desk.timeline.append(
        run.draft("step.started", "Go back", step="back", data={"attempt": 1, "uses": "kubernetes.rollback", "change": CHANGE})
    )
    desk.tell(alert(status="resolved"))  # the rollback helps before its step has ended
    assert desk.texts("alert.resolved")[0].endswith("INC-1.1 has begun to change things, and goes on.")
    desk.tell(alert())  # its Pods are replaced: for a moment it fires again
    finish(desk, "INC-1.1")
    desk.tell(alert(status="resolved"))
    desk.tell(alert())  # and once more after the end, within the cooldown
    desk.tell(alert(status="resolved"))
    assert desk.runs() == ["INC-1.1"]
    assert [incident.id for incident in desk.incidents()] == ["INC-1"]
    assert "run.abort_asked" not in desk.kinds("INC-1")
    assert str(desk.incidents()[0].stage) == "mitigated"


def test_an_alert_that_cannot_be_acted_on_holds_up_no_other(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.tell(alert())
    run = fold.find_run(desk.timeline, "INC-1.1")
    desk.timeline.append(run.draft("step.started", "an entry that nobody can read", step="back"))
    desk.tell(alert(status="resolved"), alert(service="web"))
    assert desk.runs() == ["INC-1.1", "INC-2.1"]
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 2
    assert said[1].endswith("could not be acted on; it is left out")


def test_two_receivers_that_are_told_all_at_once_in_any_order_start_one_run_each(desk: Desk) -> None:
    told = [group_of(alert(service=f"s{number % 6}")) for number in range(60)]
    with serving(desk.timeline, desk.folder, name="two") as other:
        threads = []
        for at in (desk, other):
            mine = random.Random(at.name).sample(told, len(told))
            threads += [threading.Thread(target=lambda at=at, part=mine[start::3]: [at.post(each) for each in part]) for start in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        desk.settle()
    assert len(desk.runs()) == len(set(desk.runs())) == 6
    assert sum(episode.deliveries for incident in desk.incidents() for episode in desk.timeline.intake.episodes_of(incident.id)) == 120
    assert desk.timeline.verify().damages == ()


def test_too_many_incidents_hold_back_what_follows_until_somebody_releases_them(desk: Desk) -> None:
    with (desk.folder / "policy.yaml").open("a") as policy:
        policy.write("  storm: {incidents: 3, window: 5m}\n")
    desk.tell(*(alert(service=f"s{number}") for number in range(7)))
    raging = storm.current(desk.timeline)
    assert raging
    assert len(desk.runs()) == 3
    assert len(desk.incidents()) == 4
    held = [entry for entry in desk.timeline.of_chain(raging.incident) if entry.kind == "alert.opened"]
    assert len(held) == 4
    storm.release(desk.timeline, raging, person="ada", reason="")
    desk.tell(alert(service="later"))
    assert len(desk.runs()) == 4


def test_what_was_accepted_and_not_acted_on_is_found_by_a_sweep_once(desk: Desk, alert_rules: Path) -> None:
    import json

    from stopgap.alerts.model import Delivery
    from stopgap.alerts.receive import receive
    from stopgap.policy.alerting import Source

    body = json.dumps(group_of(alert())).encode()
    lost = receive(Source(name="alertmanager", kind="alertmanager"), Delivery(headers={}, body=body), receiver="a dead one")
    desk.timeline.append(lost.draft)
    for _ in range(2):
        Intake(timeline=desk.timeline, clock=Ahead(10 * SECOND), rules=Watched(alert_rules)).sweep()
    assert desk.runs() == ["INC-1.1"]


def test_a_turn_that_died_is_done_again_and_starts_nothing_twice(desk: Desk, alert_rules: Path) -> None:
    from sqlalchemy import text

    desk.tell(alert())
    with desk.timeline.engine.begin() as connection:  # as if it had died after its entries and before its rows
        connection.execute(text("DELETE FROM episode"))
        connection.execute(text("UPDATE intake SET number = 0"))
    Intake(timeline=desk.timeline, clock=Ahead(10 * SECOND), rules=Watched(alert_rules)).sweep()
    assert desk.runs() == ["INC-1.1"]
    assert desk.kinds("INC-1") == ["incident.opened", "alert.opened", "run.requested"]
    (episode,) = desk.timeline.intake.episodes_of("INC-1")
    assert (episode.run, episode.deliveries) == ("INC-1.1", 1)
