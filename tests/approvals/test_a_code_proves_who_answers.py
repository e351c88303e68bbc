"""One-time codes: right, wrong, used, late, somebody else's, guessed."""

from __future__ import annotations

import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pyotp
import pytest
from sqlalchemy import update
from test_a_gate_is_decided_once import COMMANDER, POLICY, ask

from stopgap.approvals import codes, decide, responders
from stopgap.approvals.model import Answer, Attempt, Gate
from stopgap.policy.model import ApprovalRules, PersonId
from stopgap.timeline import tables

if TYPE_CHECKING:
    from stopgap.approvals.decide import Verdict
    from stopgap.incidents.model import Run
    from stopgap.testing import ManualClock
    from stopgap.timeline.entry import Timeline
    from stopgap.timeline.store import PostgresTimeline

STRICT = replace(POLICY, approvals=ApprovalRules(require_code=True), administrators=(PersonId("ada"),))
STEP = timedelta(seconds=codes.STEP)
WRONG = "The one-time code is not the one of ada at that moment. Is the telephone's clock right?"
USED = "This one-time code of ada was used before, and each counts once. Wait for the next one."


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPGAP_SECRET_KEY", "the key of the secrets in these tests")


def enrol(timeline: Timeline, person: str) -> pyotp.TOTP:
    secret = pyotp.random_base32()
    responders.enrol(timeline, responders.roll(timeline), person=PersonId(person), by="installer", secret=secret)
    return pyotp.TOTP(secret)


def attempt(gate: Gate, person: str, code: str, *, channel: str = "test", received: datetime | None = None) -> Attempt:
    return Attempt(
        id=uuid.uuid4().hex,
        person=person,
        answer=str(Answer.APPROVE),
        digest=gate.digest,
        reason="",
        channel=channel,
        code=code,
        received=received,
    )


def wrong(app: pyotp.TOTP, at: datetime) -> str:
    """Six digits that are right at no moment near this one."""
    near = {app.at(at + STEP * number) for number in range(-2, 3)}
    return next(code for code in map("{:06}".format, range(10)) if code not in near)


def answer(timeline: Timeline, clock: ManualClock, run: Run, given: Attempt) -> Verdict:
    return decide.decide(timeline, STRICT, clock, run=run, attempt=given)


def test_a_right_code_lets_the_decision_count(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    verdict = answer(any_timeline, clock, run, attempt(gate, "ada", app.at(clock.now())))
    assert (verdict.accepted, verdict.text) == (True, "ada (incident-commander) approved shift")


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12 456", "\uff11\uff12\uff13\uff14\uff15\uff16"])
def test_an_answer_without_a_code_is_refused_and_the_gate_stays(any_timeline: Timeline, clock: ManualClock, code: str) -> None:
    enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    verdict = answer(any_timeline, clock, run, attempt(gate, "ada", code))
    assert verdict.text == "The answer of ada came without a one-time code of six digits."
    assert verdict.gate
    assert verdict.gate.is_open


def test_a_wrong_code_is_refused_and_on_the_timeline_without_the_code(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    code = wrong(app, clock.now())
    verdict = answer(any_timeline, clock, run, attempt(gate, "ada", code))
    assert (verdict.accepted, verdict.text) == (False, WRONG)
    refused = [entry for entry in any_timeline.of_run(run.id) if entry.kind == "gate.refused"]
    assert [entry.text for entry in refused] == [f"Refused an answer of ada by test: {WRONG}"]
    assert code not in str(refused[0].data)


def test_whoever_is_not_enrolled_is_told_how(any_timeline: Timeline, clock: ManualClock) -> None:
    run, gate = ask(any_timeline)
    verdict = answer(any_timeline, clock, run, attempt(gate, "ada", "123456"))
    assert verdict.text == (
        "ada is not enrolled for one-time codes, so nothing proves that it was them. Enrol:  stopgap responder enrol ada"
    )


def test_my_code_under_somebody_elses_name_is_wrong(any_timeline: Timeline, clock: ManualClock) -> None:
    enrol(any_timeline, "ada")
    mine = enrol(any_timeline, "ben")
    run, gate = ask(any_timeline)
    assert answer(any_timeline, clock, run, attempt(gate, "ada", mine.at(clock.now()))).text == WRONG
    assert answer(any_timeline, clock, run, attempt(gate, "ben", mine.at(clock.now()))).accepted  # it was not used up by that


def test_a_code_counts_once_whatever_it_was_for(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    code = app.at(clock.now())
    assert answer(any_timeline, clock, run, attempt(gate, "ada", code)).accepted
    other, another = ask(any_timeline)
    assert answer(any_timeline, clock, other, attempt(another, "ada", code)).text == USED
    clock.advance(STEP)
    assert answer(any_timeline, clock, other, attempt(another, "ada", code)).text == USED  # still right by the drift, still used
    assert answer(any_timeline, clock, other, attempt(another, "ada", app.at(clock.now()))).accepted


def test_an_answer_that_does_not_count_uses_no_code_up(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    code = app.at(clock.now())
    assert not answer(any_timeline, clock, run, replace(attempt(gate, "ada", code), digest="0123456789abcdef")).accepted
    assert answer(any_timeline, clock, run, attempt(gate, "ada", code)).accepted


def test_of_two_processes_with_one_code_one_gets_in(timeline: PostgresTimeline, clock: ManualClock) -> None:
    app = enrol(timeline, "ada")
    script = f"""
import sys
from datetime import datetime
from stopgap.approvals import codes
from stopgap.timeline import open as opening
with opening.timeline() as timeline:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(5):
        proof = codes.Proof(attempt=f"{{sys.argv[1]}}/{{number}}", person="ada", code="{app.at(clock.now())}", channel=sys.argv[1])
        print(codes.check(timeline, proof, now=datetime.fromisoformat("{clock.now().isoformat()}")), flush=True)
"""
    children = [
        subprocess.Popen([sys.executable, "-c", script, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for child in children:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin
        child.stdin.write("\n")
        child.stdin.flush()
    said = [line for child in children for line in child.communicate()[0].splitlines()]
    assert sorted(said) == ["", *[USED] * 9]


@pytest.mark.parametrize(("steps", "counts"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_telephone_may_be_one_step_off(any_timeline: Timeline, clock: ManualClock, steps: int, counts: bool) -> None:  # noqa: FBT001  a case
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    assert answer(any_timeline, clock, run, attempt(gate, "ada", app.at(clock.now() + steps * STEP))).accepted is counts


def test_an_answer_that_waited_for_its_worker_counts_by_when_it_came(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    came = clock.now()
    clock.advance(codes.LATEST)
    assert answer(any_timeline, clock, run, attempt(gate, "ada", app.at(came), received=came)).accepted


def test_an_answer_that_waited_too_long_is_refused(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    came = clock.now()
    clock.advance(codes.LATEST + timedelta(seconds=5))
    verdict = answer(any_timeline, clock, run, attempt(gate, "ada", app.at(came), received=came))
    assert verdict.text == "The answer of ada came in 10m5s ago, and a one-time code counts for 10m. Answer again."


def test_a_server_whose_clock_is_ahead_makes_no_later_code_good(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    later = clock.now() + timedelta(hours=1)
    assert answer(any_timeline, clock, run, attempt(gate, "ada", app.at(later), received=later)).text == WRONG
    assert answer(any_timeline, clock, run, attempt(gate, "ada", app.at(clock.now()), received=later)).accepted


def test_a_code_of_somebody_revoked_a_second_ago_is_refused(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    came = clock.now()
    responders.revoke(any_timeline, responders.roll(any_timeline), person=PersonId("ada"), by="ada")
    clock.advance(timedelta(seconds=1))
    verdict = answer(any_timeline, clock, run, attempt(gate, "ada", app.at(came), received=came))
    assert verdict.text.startswith("ada is not enrolled for one-time codes")


def test_an_earlier_enrolments_code_is_wrong(any_timeline: Timeline, clock: ManualClock) -> None:
    before = enrol(any_timeline, "ada")
    enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    assert answer(any_timeline, clock, run, attempt(gate, "ada", before.at(clock.now()))).text == WRONG


def test_guessing_by_one_channel_is_slowed_down_and_shuts_nobody_out_of_another(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    guesses = [attempt(gate, "ada", wrong(app, clock.now()), channel="Prefect form") for _ in range(50)]
    said = [answer(any_timeline, clock, run, guess).text for guess in guesses]
    slowed = (
        "5 wrong one-time codes for ada came by Prefect form within 10m, so this channel takes none of them until 03:10:00 UTC. "
        "Another channel does."
    )
    assert said == [WRONG] * 5 + [slowed] * 45
    assert answer(any_timeline, clock, run, attempt(gate, "ada", app.at(clock.now()), channel="Prefect form")).text == slowed
    assert answer(any_timeline, clock, run, attempt(gate, "ada", app.at(clock.now()), channel=codes.TERMINAL)).accepted
    clock.advance(codes.WINDOW)
    other, another = ask(any_timeline)
    assert answer(any_timeline, clock, other, attempt(another, "ada", app.at(clock.now()), channel="Prefect form")).accepted


def test_guesses_for_one_person_slow_nobody_else_down(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    other = enrol(any_timeline, "ben")
    run, gate = ask(any_timeline)
    for _ in range(6):
        answer(any_timeline, clock, run, attempt(gate, "ada", wrong(app, clock.now())))
    assert answer(any_timeline, clock, run, attempt(gate, "ben", other.at(clock.now()))).accepted


def test_an_answer_read_again_after_a_crash_counts_though_its_code_is_used_up(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    given = attempt(gate, "ada", app.at(clock.now()), received=clock.now())
    assert codes.check(any_timeline, codes.Proof.of(given), now=clock.now()) == ""  # and then the process died
    clock.advance(timedelta(minutes=11))
    assert answer(any_timeline, clock, run, given).accepted
    assert answer(any_timeline, clock, run, given).accepted  # and again, before the input was deleted


def test_another_answer_under_the_same_key_does_not_get_in_by_the_first_ones_code(any_timeline: Timeline, clock: ManualClock) -> None:
    app = enrol(any_timeline, "ada")
    run, gate = ask(any_timeline)
    given = replace(attempt(gate, "ada", app.at(clock.now())), answer=str(Answer.STOP))
    assert codes.check(any_timeline, codes.Proof.of(given), now=clock.now()) == ""
    assert answer(any_timeline, clock, run, replace(given, answer=str(Answer.APPROVE))).text == USED


def test_somebody_elses_secret_in_place_of_ones_own_opens_nothing(timeline: PostgresTimeline, clock: ManualClock) -> None:
    enrol(timeline, "ada")
    mine = enrol(timeline, "ben")
    found = responders.roll(timeline).enrolled
    with timeline.engine.begin() as connection:
        row = tables.responder
        sealed = timeline.proofs.sealed(found[PersonId("ben")].id)
        connection.execute(update(row).where(row.c.enrolment == found[PersonId("ada")].id).values(sealed=sealed))
    run, gate = ask(timeline)
    verdict = answer(timeline, clock, run, attempt(gate, "ada", mine.at(clock.now())))
    assert verdict.text.startswith("No one-time code can be checked on this machine. The secret of ada/")


def test_a_row_without_an_entry_enrols_nobody(timeline: PostgresTimeline, clock: ManualClock) -> None:
    timeline.proofs.keep("0123456789abcdef", b"whatever")
    run, gate = ask(timeline)
    assert answer(timeline, clock, run, attempt(gate, "ada", "123456")).text.startswith("ada is not enrolled")


def test_neither_codes_nor_secrets_are_kept_in_the_clear(timeline: PostgresTimeline, clock: ManualClock) -> None:
    app = enrol(timeline, "ada")
    run, gate = ask(timeline)
    code = app.at(clock.now())
    given = Attempt.of_form(
        id="form/1/2",
        fields={"name": "ada", "decision": "approve", "change": gate.digest, "code": code, "reason": f"my code is {code}"},
        received=clock.now(),
    )
    assert code not in repr(given)
    assert answer(timeline, clock, run, given).accepted
    with timeline.engine.connect() as connection:
        everything = [str(row) for table in tables.metadata.sorted_tables for row in connection.execute(table.select())]
    assert len(everything) > 5
    # A microsecond or a hash may hold any six digits; the texts and data may not.
    assert not any(code in entry.text or code in str(entry.data) for entry in timeline.of_run(run.id))
    assert not any(app.secret in row for row in everything)


def test_two_approvers_each_bring_a_code_of_their_own(any_timeline: Timeline, clock: ManualClock) -> None:
    from stopgap.runbook.model import ApprovalRequest

    ada, ben = enrol(any_timeline, "ada"), enrol(any_timeline, "ben")
    run, gate = ask(any_timeline, ApprovalRequest(by=(COMMANDER,), approvers=2))
    assert answer(any_timeline, clock, run, attempt(gate, "ada", ada.at(clock.now()))).accepted
    refused = answer(any_timeline, clock, run, attempt(gate, "ben", ada.at(clock.now())))
    assert refused.text == WRONG.replace("ada", "ben")
    assert (
        answer(any_timeline, clock, run, attempt(gate, "ben", ben.at(clock.now()))).text
        == "ada (incident-commander) and ben (incident-commander, for ada) approved shift"
    )
