"""A run that an alert proposes begins when somebody agrees, and not before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fixtures_engine import carry_out, statuses, texts
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer
from stopgap.incidents.model import Mode, RunEnd
from stopgap.incidents.open import request_run

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from stopgap.engine.work import Work

STEPS = "steps:\n  - {id: tell, name: Tell, uses: note, with: {text: hello}}\n"


@pytest.fixture
def proposed(bench: Bench) -> Work:
    work = bench.work(STEPS)
    run = request_run(
        bench.timeline, incident=work.run().incident, runbook=work.runbook, parameters={}, mode=Mode.LIVE, starter="stopgap",
        key="alert/alertmanager/x/1", proposed="the alert is 20m old",
    )  # fmt: skip
    return replace(work, id=run.id)


def test_it_runs_when_the_commander_agrees(proposed: Work) -> None:
    assert carry_out(proposed, run__begin=("ada", Answer.APPROVE)) is RunEnd.DONE
    assert statuses(proposed.run()) == {"tell": "done"}
    (asked,) = texts(proposed, "gate.asked")
    assert asked.endswith("May test-runbook begin? It was not started by itself, because the alert is 20m old.")


def test_it_does_nothing_when_the_commander_does_not(proposed: Work) -> None:
    assert carry_out(proposed, run__begin=("ada", Answer.STOP)) is RunEnd.REJECTED
    assert proposed.run().steps == {}


def test_its_question_is_open_until_then(proposed: Work) -> None:
    with pytest.raises(Exception, match=r".*"):
        carry_out(proposed)
    gate = gates.waiting(proposed.entries())
    assert gate
    assert (gate.step, gate.by) == ("run.begin", ("incident-commander",))
