"""`stopgap incident`, `stopgap storm` and `stopgap match` from a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from fixtures_alerts import alert
from stopgap.cli import main

if TYPE_CHECKING:
    import pytest

    from fixtures_alerts import Desk

SAMPLE = Path(__file__).parents[1] / "alerts" / "samples" / "alertmanager-01-firing-1alerts.json"


def say(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main.run(list(words))
    said = capsys.readouterr()
    return code, said.out + said.err


def test_an_incident_from_the_alert_to_its_end(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.tell(alert("DiskFull"))
    assert say(capsys, "incident", "list") == (0, "INC-1\tSEV1\tdetected\t1 firing\tnobody\tDiskFull of all\n")
    assert say(capsys, "incident", "ack", "INC-1", "--as", "ada") == (0, "ada looks after INC-1\n")
    say(capsys, "incident", "severity", "INC-1", "SEV2", "--as", "ada")
    say(capsys, "incident", "stage", "INC-1", "investigating", "--as", "ada")
    code, said = say(capsys, "incident", "resolve", "INC-1", "--as", "ada")
    assert (code, said.splitlines()) == (
        2,
        ["Alerts of INC-1 still fire: DiskFull- (alertmanager).", "If that is known:  stopgap incident resolve INC-1 --anyway"],
    )
    desk.tell(alert("DiskFull", status="resolved"))
    assert say(capsys, "incident", "resolve", "INC-1", "--as", "ada") == (0, "ada resolved INC-1\n")
    shown = json.loads(say(capsys, "incident", "show", "INC-1", "--json")[1])
    assert (shown["severity"], shown["stage"], shown["acknowledged_by"], shown["firing"]) == ("SEV2", "resolved", "ada", [])
    took = shown["took_seconds"]
    assert 0 <= took["to acknowledge"] <= took["to mitigate"] <= took["to resolve"]
    assert took["to detect"] >= 0
    assert "it took to detect 0s, to acknowledge " in say(capsys, "incident", "show", "INC-1")[1]
    assert shown["alerts"] == [{"source": "alertmanager", "alert": "DiskFull-", "state": "over", "deliveries": 2}]


def test_match_says_what_would_start_and_why_not_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(desk.folder))
    told = (desk.folder / "tell.yaml").read_text()
    (desk.folder / "other.yaml").write_text(told.replace("name: tell\n", "name: other\n", 1).replace("HighErrorRate", "DiskFull"))
    code, said = say(capsys, "match", str(SAMPLE))
    assert (code, said.splitlines()) == (
        0,
        ["checkout error rate is 7 (firing)", "  tell would start", '  other: alertname is "HighErrorRate", not "DiskFull"'],
    )
    (desk.folder / "other.yaml").write_text(told.replace("name: tell\n", "name: other\n", 1))
    code, said = say(capsys, "match", str(SAMPLE))
    assert "has the same trigger, so an alert starts neither [trigger-tie]" in say(capsys, "lint", str(desk.folder))[1]
    code, said = say(capsys, "match", str(SAMPLE))
    assert (code, said.splitlines()[1]) == (1, "  nothing would start: other and tell have triggers that fit it equally well")


def test_a_storm_is_shown_and_released(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "storm", "status") == (0, "There is no storm: alerts start runbooks.\n")
    with (desk.folder / "policy.yaml").open("a") as policy:
        policy.write("  storm: {incidents: 1, window: 5m}\n")
    desk.tell(alert(service="a"), alert(service="b"))
    code, said = say(capsys, "storm", "status")
    assert code == 1
    assert (
        "HighErrorRate of b (alertmanager) fires: tell is not started: too many incidents began at once (INC-2); a person decides" in said
    )
    assert say(capsys, "storm", "release", "--as", "ada")[1].startswith(
        "ada released the storm: alerts start runbooks again\n  not started: HighErrorRate of b"
    )
    assert say(capsys, "storm", "status")[0] == 0
