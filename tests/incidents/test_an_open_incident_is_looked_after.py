"""Reminders, checkpoints, pages and public updates come from the timeline and the clock, once each, whoever looks."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stopgap.approvals import decide, publishing
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer, Attempt
from stopgap.engine.overseeing import Overseer
from stopgap.incidents import changes, fold, paging
from stopgap.incidents.open import open_incident
from stopgap.policy.incidents import IncidentRules, Instead, OnCall
from stopgap.policy.model import ApprovalRules, Person, PersonId, Policy, Role, RoleName, Severity
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from stopgap.incidents.model import Incident, Run
    from stopgap.testing import ManualClock
    from stopgap.timeline.store import PostgresTimeline

ADA, BEN, CHEN, DANA = map(PersonId, ("ada", "ben", "chen", "dana"))
COMMANDER, COMMS, DATABASE = map(RoleName, ("incident-commander", "communications-lead", "database-oncall"))
MINUTE = timedelta(minutes=1)
POLICY = Policy(
    people={each: Person(id=each, name=each) for each in (ADA, BEN, CHEN, DANA)},
    roles={
        COMMANDER: Role(name=COMMANDER, holders=(ADA,), deputies=(BEN,)),
        COMMS: Role(name=COMMS, holders=(DANA,)),
        DATABASE: Role(name=DATABASE, holders=(BEN, CHEN, DANA)),
    },
    approvals=ApprovalRules(require_code=False),
    on_call={DATABASE: OnCall(people=(CHEN, BEN), starts=datetime(2026, 11, 16, 9, tzinfo=UTC))},
)


def policy(**rules: Any) -> Policy:
    return replace(POLICY, incidents=IncidentRules(**rules))


def opened(timeline: PostgresTimeline, severity: Severity = Severity.SEV1, *, key: str = "k", drill: bool = False) -> Incident:
    name = open_incident(timeline, title="Checkout is slow", severity=severity, actor="zoe", key=key, drill=drill)
    return fold.find_incident(timeline, name)


def overseer(timeline: PostgresTimeline, clock: ManualClock, rules: Policy = POLICY) -> Overseer:
    return Overseer(timeline, clock, lambda: rules)


def texts(timeline: PostgresTimeline, kind: str) -> list[str]:
    return [entry.text for entry in timeline.of_kind(kind)]


def test_an_update_is_due_by_severity_and_counted_from_the_last_one(timeline: PostgresTimeline, clock: ManualClock) -> None:
    incident, look = opened(timeline), overseer(timeline, clock)
    clock.advance(29 * MINUTE)
    look()
    assert texts(timeline, "update.due") == []
    clock.advance(MINUTE)
    look()
    look()
    assert texts(timeline, "update.due") == ["An update of INC-1 is due: 30m have gone by since INC-1 was opened"]
    publishing.tell(timeline, incident, person="dana", text="We look", eta=None)
    clock.advance(29 * MINUTE)
    look()
    assert len(texts(timeline, "update.due")) == 1
    clock.advance(3 * 30 * MINUTE)  # nobody worked meanwhile: what was slept through is not made up for
    look()
    assert texts(timeline, "update.due")[1:] == ["An update of INC-1 is due: 1h30m have gone by since the last one"]


def test_a_changed_severity_changes_when_it_is_due(timeline: PostgresTimeline, clock: ManualClock) -> None:
    incident, look = opened(timeline, Severity.SEV4), overseer(timeline, clock)
    clock.advance(timedelta(hours=3))
    look()
    assert texts(timeline, "update.due") == []
    changes.grade(timeline, incident, person="ada", severity=Severity.SEV2, reason="")
    look()
    assert texts(timeline, "update.due") == ["An update of INC-1 is due: 3h have gone by since INC-1 was opened"]


def test_the_commander_is_asked_to_look_up_until_it_is_mitigated(timeline: PostgresTimeline, clock: ManualClock) -> None:
    opened(timeline)
    look = overseer(timeline, clock)
    for _ in range(2):
        clock.advance(15 * MINUTE)
        look()
    timeline.append(Draft(chain="INC-1", incident="INC-1", kind="incident.mitigated", actor="ada", text="m"))
    clock.advance(60 * MINUTE)
    look()
    assert [text.partition(":")[0] for text in texts(timeline, "checkpoint.due")] == [
        "Checkpoint of INC-1, open for 15m",
        "Checkpoint of INC-1, open for 30m",
    ]


def test_a_page_rings_again_with_one_person_more_until_somebody_acknowledges(timeline: PostgresTimeline, clock: ManualClock) -> None:
    incident, look = opened(timeline, Severity.SEV3), overseer(timeline, clock)
    paging.ask(timeline, incident, role=DATABASE, by="ada", why="replication", key="p")
    look()
    clock.advance(4 * MINUTE)
    look()
    clock.advance(MINUTE)
    look()
    assert texts(timeline, "page.rung") == [
        "Paged chen for database-oncall: nobody has acknowledged",
        "Paged chen, ben for database-oncall, time 2: nobody has acknowledged",
    ]
    changes.acknowledge(timeline, incident, person="ada", policy=POLICY)  # she asked for somebody else
    assert texts(timeline, "page.acknowledged") == []
    changes.acknowledge(timeline, incident, person="dana", policy=POLICY)
    changes.acknowledge(timeline, incident, person="ben", policy=POLICY)
    clock.advance(timedelta(hours=1))
    look()
    assert texts(timeline, "page.acknowledged") == ["dana acknowledged the page of database-oncall by terminal"]
    assert len(texts(timeline, "page.rung")) == 2


def test_a_page_does_not_ring_for_ever(timeline: PostgresTimeline, clock: ManualClock) -> None:
    incident, look = opened(timeline, Severity.SEV4), overseer(timeline, clock)
    paging.ask(timeline, incident, role=DATABASE, by="ada", why="", key="p")
    for _ in range(40):
        look()
        clock.advance(5 * MINUTE)
    assert len(texts(timeline, "page.rung")) == paging.MOST


def test_a_severity_pages_by_itself_until_somebody_looks_after_it(timeline: PostgresTimeline, clock: ManualClock) -> None:
    rules = policy(pages={Severity.SEV1: (COMMANDER, DATABASE)})
    incident, look = opened(timeline, Severity.SEV2), overseer(timeline, clock, rules)
    look()
    assert texts(timeline, "page.asked") == []
    changes.grade(timeline, incident, person="zoe", severity=Severity.SEV1, reason="")
    look()
    look()
    assert texts(timeline, "page.asked") == [
        "incident-commander is to be paged: SEV1: Checkout is slow",
        "database-oncall is to be paged: SEV1: Checkout is slow",
    ]
    look()
    assert len(texts(timeline, "page.rung")) == 2
    changes.acknowledge(timeline, fold.find_incident(timeline, "INC-1"), person="ada", policy=rules)
    assert len(texts(timeline, "page.acknowledged")) == 2
    clock.advance(timedelta(hours=1))
    look()
    assert len(texts(timeline, "page.rung")) == 2


def test_what_fires_again_after_it_was_resolved_pages_again(timeline: PostgresTimeline, clock: ManualClock) -> None:
    rules = policy(pages={Severity.SEV1: (COMMANDER,)})
    look = overseer(timeline, clock, rules)
    changes.acknowledge(timeline, opened(timeline), person="ada", policy=rules)
    changes.resolve(timeline, fold.find_incident(timeline, "INC-1"), person="ada", reason="", sure=True)
    look()
    assert texts(timeline, "page.asked") == []
    data = {"source": "s", "alert": "a"}
    timeline.append(Draft(chain="INC-1", incident="INC-1", kind="alert.opened", actor="stopgap", text="again", data=data))
    look()
    look()
    assert len(texts(timeline, "page.asked")) == len(texts(timeline, "page.rung")) == 1
    changes.acknowledge(timeline, fold.find_incident(timeline, "INC-1"), person="ada", policy=rules)
    assert fold.find_incident(timeline, "INC-1").acknowledged_by == "ada"


def test_several_workers_write_each_of_it_once(timeline: PostgresTimeline, clock: ManualClock) -> None:
    rules = policy(pages={Severity.SEV1: (COMMANDER,)})
    for number in range(5):
        opened(timeline, key=str(number))
    clock.advance(31 * MINUTE)
    lookers = [overseer(timeline, clock, rules) for _ in range(4)]
    for _ in range(2):
        threads = [threading.Thread(target=each) for each in lookers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    counts = [len(texts(timeline, kind)) for kind in ("page.asked", "page.rung", "update.due", "checkpoint.due")]
    assert counts == [5, 5, 5, 5]
    assert timeline.damage("INC-1") is None


def test_drills_and_what_is_over_call_for_nothing(timeline: PostgresTimeline, clock: ManualClock) -> None:
    rules = policy(pages={Severity.SEV1: (COMMANDER,)})
    opened(timeline, drill=True)
    changes.resolve(timeline, opened(timeline), person="ada", reason="", sure=True)
    clock.advance(timedelta(hours=5))
    overseer(timeline, clock, rules)()
    assert [texts(timeline, kind) for kind in ("page.asked", "page.rung", "update.due", "checkpoint.due")] == [[], [], [], []]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [("2026-11-16T08:59:59", None), ("2026-11-16T09:00:00", CHEN), ("2026-11-23T09:00:00", BEN), ("2026-11-30T09:00:00", CHEN), ("2026-12-01T12:00:00", ADA)],
)  # fmt: skip
def test_the_rotation_names_who_is_on_call(moment: str, expected: PersonId | None) -> None:
    instead = Instead(person=ADA, begins=datetime(2026, 12, 1, tzinfo=UTC), ends=datetime(2026, 12, 2, tzinfo=UTC))
    assert replace(POLICY.on_call[DATABASE], instead=(instead,)).at(datetime.fromisoformat(f"{moment}+00:00")) == expected


def answer(timeline: PostgresTimeline, clock: ManualClock, run: Run, person: str, what: Answer) -> bool:
    gate = gates.waiting(timeline.of_run(run.id))
    assert gate
    attempt = Attempt(id=f"{person}/{what}", person=person, answer=str(what), digest=gate.digest, reason="", channel="test")
    return decide.decide(timeline, POLICY, clock, run=run, attempt=attempt).accepted


def test_the_public_hears_what_the_communications_role_approved_and_nothing_else(timeline: PostgresTimeline, clock: ManualClock) -> None:
    incident, look = opened(timeline), overseer(timeline, clock)
    run = publishing.draft(timeline, POLICY, incident, person="ada", text="Payments may fail.", eta=None)
    look()
    assert texts(timeline, "update.sent") == []
    assert not answer(timeline, clock, run, "ada", Answer.APPROVE)  # she is no communications lead
    assert answer(timeline, clock, run, "dana", Answer.APPROVE)
    look()
    look()
    assert texts(timeline, "update.sent") == ["ada tells everybody: Payments may fail."]
    assert [entry.data["audience"] for entry in timeline.of_kind("update.sent")] == ["public"]


def test_what_was_rejected_or_expired_is_never_sent(timeline: PostgresTimeline, clock: ManualClock) -> None:
    incident, look = opened(timeline), overseer(timeline, clock)
    rejected = publishing.draft(timeline, POLICY, incident, person="ada", text="one", eta=None)
    expired = publishing.draft(timeline, POLICY, incident, person="ada", text="two", eta=None)
    assert answer(timeline, clock, rejected, "dana", Answer.STOP)
    clock.advance(14 * MINUTE)
    look()
    assert [text.partition(" ")[0] for text in texts(timeline, "gate.reminded")] == ["update"]
    clock.advance(2 * MINUTE)
    look()
    look()
    assert texts(timeline, "gate.expired") == ["Nobody decided about update within 15m: expired"]
    assert gates.waiting(timeline.of_run(expired.id)) is None
    assert texts(timeline, "update.sent") == []


def test_an_update_whose_writer_died_before_asking_is_asked_about(timeline: PostgresTimeline, clock: ManualClock) -> None:
    opened(timeline)
    timeline.append(
        Draft(chain="INC-1", incident="INC-1", run="INC-1.u1", kind="update.drafted", actor="ada", text="t", data={"text": "x", "eta": ""})
    )
    overseer(timeline, clock)()
    assert texts(timeline, "gate.asked") == ['INC-1.u1: May the public be told this? "x"']


def test_an_approval_that_was_forged_publishes_nothing(timeline: PostgresTimeline, clock: ManualClock) -> None:
    incident = opened(timeline)
    run = publishing.draft(timeline, POLICY, incident, person="ada", text="harmless", eta=None)
    with timeline.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE entry DISABLE TRIGGER USER")
        connection.exec_driver_sql("UPDATE entry SET data = replace(data::text, 'harmless', 'terrible')::json WHERE kind = 'gate.asked'")
    assert answer(timeline, clock, run, "dana", Answer.APPROVE)
    overseer(timeline, clock)()
    assert texts(timeline, "update.sent") == []


def test_an_approval_of_somebody_whom_policy_no_longer_names_is_asked_for_again(timeline: PostgresTimeline, clock: ManualClock) -> None:
    incident = opened(timeline)
    run = publishing.draft(timeline, POLICY, incident, person="ada", text="x", eta=None)
    assert answer(timeline, clock, run, "dana", Answer.APPROVE)
    others = replace(POLICY, people={ADA: POLICY.people[ADA]}, roles={COMMS: Role(name=COMMS, holders=(ADA,))})
    look = overseer(timeline, clock, others)
    look()
    look()
    assert texts(timeline, "update.sent") == []
    assert [entry.data["round"] for entry in timeline.of_kind("gate.asked")] == [1, 2]
