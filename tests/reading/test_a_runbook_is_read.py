from __future__ import annotations

import hashlib
from datetime import date, timedelta
from pathlib import Path

import pytest

from stopgap.policy.model import Severity
from stopgap.problems import Position, ProblemsError
from stopgap.runbook import load
from stopgap.runbook.known import Known

CASES = Path(__file__).parent.parent / "cases"


def test_the_runbook_of_the_design_becomes_values() -> None:
    path = CASES / "ok" / "checkout-latency.yaml"
    runbook = load.load(path, known=Known())
    scale, shift, roll_back = runbook.steps
    assert (runbook.name, runbook.severity, runbook.reviewed) == ("checkout-latency", Severity.SEV2, date(2026, 11, 1))
    assert runbook.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert scale.call is not None
    assert scale.call.arguments == {"deployment": "checkout", "replicas": "${{ params.replicas }}"}
    assert scale.position == Position(21, 5)
    assert scale.timeout == timedelta(minutes=2)
    assert shift.when == "steps.scale.status != 'done'"
    assert shift.name == "Shift"
    assert roll_back.approval is not None
    assert roll_back.approval.approvers == 2
    assert runbook.triggers[0].cooldown == timedelta(minutes=15)


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    text = (CASES / "ok" / "checkout-latency.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("timeout: 2m", "timeuot: 2m").replace("severity: SEV2", "severity: SEV9"), encoding="utf-8")
    with pytest.raises(ProblemsError) as caught:
        load.load(path, known=Known())
    assert str(caught.value).splitlines() == [
        f'{path}:10:11: "severity" must be SEV1, SEV2, SEV3 or SEV4, not the text "SEV9" [not-a-choice]  did you mean "SEV4"?',
        f'{path}:25:5: unknown key "timeuot" [unknown-key]  did you mean "timeout"?',
    ]


def test_a_folder_is_read_by_name_and_other_kinds_are_passed_over(tmp_path: Path) -> None:
    text = (CASES / "ok" / "checkout-latency.yaml").read_text(encoding="utf-8")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "latency.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text("kind: Policy\n", encoding="utf-8")
    assert list(load.load_all(tmp_path, known=Known())) == ["checkout-latency"]
