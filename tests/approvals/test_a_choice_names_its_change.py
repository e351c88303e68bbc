"""What is chosen in a form names the change, and is bound to it by being chosen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stopgap.approvals import choices
from stopgap.approvals.model import Answer, Gate, Question
from stopgap.incidents.model import RunId
from stopgap.runbook.model import StepId

DIGEST = "8b89af45c0ffee11"


def gate(**asks: Any) -> Gate:
    return Gate(
        run=RunId("INC-1.1"), step=StepId("shift"), round=1, question=Question.APPROVE, digest=DIGEST, by=(), approvers=1, expires=timedelta(minutes=5),
        asked_at=datetime(2026, 12, 1, tzinfo=UTC), starter="zoe", allow_self=False, asks=asks,
    )  # fmt: skip


def test_the_approval_names_the_change_and_every_choice_its_digest() -> None:
    assert choices.of_gate(gate(change={"summary": "checkout: 2.4.1 -> 2.4.0"})) == {
        Answer.APPROVE: "approve: checkout: 2.4.1 -> 2.4.0 [8b89af45c0ffee11]",
        Answer.SKIP: "skip this step [8b89af45c0ffee11]",
        Answer.STOP: "stop the run [8b89af45c0ffee11]",
        Answer.UNDO: "stop and undo [8b89af45c0ffee11]",
    }


def test_a_long_change_is_cut_and_a_group_names_each_member() -> None:
    members = [{"change": {"summary": "blue: 100 -> 0 %"}}, {"change": {"summary": "green " + "x" * 90}}]
    assert choices.of_gate(gate(members=members))[Answer.APPROVE] == f"approve: blue: 100 -> 0 %; green {'x' * 45}… [{DIGEST}]"


@given(st.text(max_size=90))
def test_any_summary_is_read_back_as_its_answer_and_digest(summary: str) -> None:
    for answer, text in choices.of_gate(gate(change={"summary": summary})).items():
        assert choices.read(text) == (answer, DIGEST)


@given(st.text(max_size=40))
def test_what_is_no_choice_is_none(text: str) -> None:
    assert choices.read(text) == ("", "")
    assert choices.read(f"approve: x [{DIGEST}] {text}x") == ("", "")
    assert choices.read(f"yes [{DIGEST}]") == ("", "")
