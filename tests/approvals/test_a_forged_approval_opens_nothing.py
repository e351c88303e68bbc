"""Somebody who reaches the database and not the timeline's key writes an approval, takes one away, or adds to who is enrolled: nothing is done."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from fixtures_engine import Bench, carry_out, statuses, texts
from stopgap.approvals import decide
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer, Attempt
from stopgap.clock import SystemClock
from stopgap.incidents.model import RunEnd
from stopgap.testing import ScriptedStage
from stopgap.timeline import tables
from stopgap.timeline.chain import RESPONDERS
from stopgap.timeline.entry import Draft
from stopgap.timeline.rows import row_of

if TYPE_CHECKING:
    from stopgap.engine.work import Work
    from stopgap.timeline.entry import Entry

ASKS = """\
steps:
  - {id: scale, name: Add capacity, uses: kubernetes.scale, with: {deployment: checkout, replicas: 4}, approval: {by: [incident-commander]}}
"""
GROUP = """\
steps:
  - id: both
    name: Both
    parallel:
      - {id: scale, name: Add capacity, uses: kubernetes.scale, with: {deployment: checkout, replicas: 4}, approval: {by: [incident-commander]}}
      - {id: tell, name: Tell, uses: note, with: {text: hello}}
"""


def waiting(bench: Bench, steps: str = ASKS) -> Work:
    """A run that stands at its gate."""
    work = bench.work(steps)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    return work


def insert(bench: Bench, entry: Entry, **changed: Any) -> None:
    """Write an entry as somebody does who has the database alone: far beyond the end, so that those of others still find their place."""
    row = row_of(dataclasses.replace(entry, number=entry.number + 1000, at=datetime.now(UTC), **changed))
    with bench.timeline.engine.begin() as connection:
        connection.execute(tables.entry.insert(), row)


def approve(bench: Bench, work: Work) -> None:
    """Decide as ada, by the very function that decides."""
    gate = gates.waiting(work.entries())
    assert gate
    attempt = Attempt(id=uuid.uuid4().hex, person="ada", answer=str(Answer.APPROVE), digest=gate.digest, reason="", channel="test")
    verdict = decide.decide(bench.timeline, bench.policy, SystemClock(), run=work.run(), attempt=attempt)
    assert verdict.accepted, verdict.text


def nothing_was_done(bench: Bench, work: Work, sentence: str) -> None:
    before = bench.replicas()
    assert carry_out(work) is RunEnd.FAILED
    assert bench.replicas() == before
    assert statuses(work.run())["scale"] == "failed"
    assert not [each for each in texts(work, "step.started") if each.startswith("Add capacity")]
    told = " ".join(texts(work, "step.finished"))
    assert sentence in told
    assert "stopgap timeline verify" in told


@pytest.mark.parametrize("steps", [ASKS, GROUP], ids=["a step", "a group"])
def test_an_approval_written_without_the_key(bench: Bench, steps: str) -> None:
    other, before = waiting(bench, steps), bench.replicas()
    approve(bench, other)
    assert carry_out(other) is RunEnd.DONE
    bench.meddle(before)
    work = waiting(bench, steps)
    for entry in other.entries():
        if entry.kind in {"gate.answered", "gate.decided"}:
            key = entry.key.replace(other.id, work.id) + "/copied"
            insert(bench, entry, chain=work.run().incident, incident=work.run().incident, run=work.id, key=key)
    assert gates.waiting(work.entries()) is None
    nothing_was_done(bench, work, "removed")


def test_a_question_changed_after_it_was_asked(bench: Bench) -> None:
    work = waiting(bench)
    with bench.timeline.engine.begin() as connection:
        connection.execute(text("ALTER TABLE entry DISABLE TRIGGER USER"))
        changed = connection.execute(text("UPDATE entry SET text = 'Something harmless' WHERE kind = 'gate.asked'"))
        assert changed.rowcount == 1
    approve(bench, work)
    nothing_was_done(bench, work, "was changed after it was written")


def test_an_approval_that_stands_in_another_chain(bench: Bench) -> None:
    work = waiting(bench)
    own = next(entry for entry in work.entries() if entry.kind == "gate.asked")
    bench.timeline.append(
        Draft(chain="INC-999", kind="note", actor="ada", key="elsewhere", text="approved", incident="INC-999", run=own.run)
    )
    approve(bench, work)
    nothing_was_done(bench, work, "INC-999 #1 says something about")


def test_somebody_enrolled_without_the_key(bench: Bench) -> None:
    work = waiting(bench)
    insert(bench, work.entries()[0], chain=RESPONDERS, incident="", run="", kind="responder.enrolled", key="forged", text="mallory is ada")
    approve(bench, work)
    nothing_was_done(bench, work, f"{RESPONDERS} #1")


def test_one_that_nobody_touched_is_carried_out(bench: Bench) -> None:
    work = waiting(bench)
    approve(bench, work)
    assert carry_out(work) is RunEnd.DONE
    assert bench.replicas() == 4
