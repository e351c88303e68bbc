"""Whatever is posted to any source: an answer with a sentence, no 5xx, no traceback, and nothing that cannot be acted on."""

from __future__ import annotations

import json
import logging
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest
from fuzzing import FUZZED, rolled
from payloads import GENERIC_FIELDS

from fixtures_alerts import POLICY, alert, group_of, serving
from stopgap.policy.alerting import KINDS
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fixtures_alerts import Desk

OPEN = POLICY[: POLICY.index("    alertmanager:")] + "".join(
    f"    {kind}: {{{'topics: [t]' if kind == 'cloudwatch' else 'open: true'}{f', fields: {json.dumps(GENERIC_FIELDS)}' if kind == 'generic' else ''}}}\n"
    for kind in KINDS
)


@pytest.fixture
def open_desk(stopgap_home: Path, alert_rules: Path) -> Iterator[Desk]:
    """A receiver to which anybody may post from every kind of source; only CloudWatch's messages must be signed."""
    assert stopgap_home
    (alert_rules / "policy.yaml").write_text(f"{OPEN}  storm: {{incidents: 1000000, window: 1s}}\n")
    with opening.timeline() as timeline, serving(timeline, alert_rules) as found:
        yield found


@pytest.mark.timeout(7200)
def test_whatever_is_posted_is_answered_with_a_sentence_and_never_breaks_anything(
    open_desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="stopgap")
    answers: Counter[tuple[str, int]] = Counter()
    dice = Random(0)
    for _ in range(FUZZED):
        kind, headers, body = rolled(dice)
        answer = open_desk.http.post(f"/alerts/{kind}", content=body, headers=headers)
        answers[kind, answer.status_code] += 1
        assert answer.status_code in {202, 400, 401}, (answer.text, body)
        assert answer.status_code == 202 or answer.json()["error"].endswith((".", "?")), (answer.text, body)
    assert open_desk.post(group_of(alert())).status_code == 202
    open_desk.settle()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info] == []
    assert {status for _, status in answers} == {202, 400, 401}
    assert {kind for kind, _ in answers} == set(KINDS)
    assert open_desk.timeline.verify().damages == ()
