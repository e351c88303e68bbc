"""One-time codes (TOTP, RFC 6238): six digits that prove who answers. Each counts once, and guessing is slowed down."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from stopgap.approvals import responders, sealing
from stopgap.clock import format_duration
from stopgap.policy.model import PersonId
from stopgap.timeline.chain import RESPONDERS
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from datetime import datetime

    from stopgap.approvals.model import Attempt
    from stopgap.approvals.responders import Enrolment
    from stopgap.timeline.entry import Timeline
    from stopgap.timeline.proofs import Turn

TERMINAL = "terminal"  # the channel of everything typed there
STEP = 30  # seconds that a code is shown; RFC 6238's own, and all that the common apps know
DRIFT = 1  # codes before and after, for a telephone whose clock is a little off
LATEST = timedelta(minutes=10)  # an answer may lie so long before it is read: a worker that was down loses no approval
WRONG = 5  # wrong codes of one person by one channel within ...
WINDOW = timedelta(minutes=10)  # ... this, and that channel takes none of them until it is over
_CODE = re.compile(r"[0-9]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A code as it came in: of whom, with which attempt, by which channel, when (None: now).

    `attempt` names everything that the code is given for: no other answer gets in by a code that was used up for this one.
    """

    attempt: str
    person: PersonId
    code: str = field(repr=False)
    channel: str
    received: datetime | None = None

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """Take the proof out of an answer."""
        said = json.dumps([attempt.person, attempt.answer, attempt.digest, attempt.reason, attempt.breaks_glass])
        return cls(
            attempt=f"{attempt.id}/{hashlib.sha256(said.encode()).hexdigest()}",
            person=PersonId(attempt.person),
            code=attempt.code,
            channel=attempt.channel,
            received=attempt.received,
        )


def check(timeline: Timeline, proof: Proof, *, now: datetime) -> str:
    """Use a code up. Returns why it proves nothing, as a sentence; empty when it does. The same attempt gets the same answer again."""
    enrolment = responders.roll(timeline).enrolled.get(proof.person)
    if enrolment is None:
        return f"{proof.person} is not enrolled for one-time codes, so nothing proves that it was them. Enrol:  stopgap responder enrol {proof.person}"
    try:
        secret = _secret(timeline, enrolment)
    except sealing.SecretKeyError as error:
        return f"No one-time code can be checked on this machine. {error}"
    with timeline.proofs.turn(proof.person) as turn:
        if turn.was_used_for(proof.attempt):
            return ""
        reason = _plain_objection(proof, now=now) or _guessing(turn, proof, now=now) or _use(turn, proof, enrolment, secret, now=now)
    if reason == _wrong(proof):
        _tell(timeline, proof, now=now)
    return reason


def matching(secret: str, code: str, at: datetime) -> int | None:
    """Return the number of the code (RFC 6238's counter) that is right at this moment, give or take the drift; None when it is not right."""
    import pyotp

    made = pyotp.TOTP(secret)
    middle = int(at.timestamp()) // STEP
    # Every one is compared, and in constant time: how long it takes says nothing.
    right = [number for number in range(middle - DRIFT, middle + DRIFT + 1) if hmac.compare_digest(made.generate_otp(number), code)]
    return right[0] if right else None


def use_up(timeline: Timeline, enrolment: Enrolment, counter: int, *, now: datetime) -> None:
    """Let a code that was shown for another purpose, like enrolling, count no more."""
    with timeline.proofs.turn(enrolment.person) as turn:
        turn.use(enrolment.id, counter, attempt=f"enrol/{enrolment.id}", at=now)


def is_code(text: str) -> bool:
    """Whether it looks like a code: six digits."""
    return _CODE.fullmatch(text) is not None


def _secret(timeline: Timeline, enrolment: Enrolment) -> str:
    sealed = timeline.proofs.sealed(enrolment.id)
    if sealed is None:
        raise sealing.SecretKeyError(
            f"The secret of {enrolment.person} is gone from the database. Enrol again:  stopgap responder enrol {enrolment.person}"
        )
    return sealing.unseal(sealed, bound=enrolment.bound, key=sealing.load_key())


def _plain_objection(proof: Proof, *, now: datetime) -> str:
    if not is_code(proof.code):
        return f"The answer of {proof.person} came without a one-time code of six digits."
    age = now - (proof.received or now)
    if age > LATEST:
        whole = format_duration(timedelta(seconds=int(age.total_seconds())))
        return f"The answer of {proof.person} came in {whole} ago, and a one-time code counts for {format_duration(LATEST)}. Answer again."
    return ""


def _guessing(turn: Turn, proof: Proof, *, now: datetime) -> str:
    wrong = turn.wrong(proof.channel, since=now - WINDOW)
    if len(wrong) < WRONG:
        return ""
    again = wrong[-WRONG] + WINDOW
    return (
        f"{len(wrong)} wrong one-time codes for {proof.person} came by {proof.channel} within {format_duration(WINDOW)}, so this channel takes "
        f"none of them until {again:%H:%M:%S} UTC. Another channel does."
    )


def _use(turn: Turn, proof: Proof, enrolment: Enrolment, secret: str, *, now: datetime) -> str:
    # A server whose clock is ahead of ours makes no code good that is yet to come.
    counter = matching(secret, proof.code, min(proof.received or now, now))
    if counter is None:
        turn.note_wrong(proof.channel, attempt=proof.attempt, at=now)
        return _wrong(proof)
    if not turn.use(enrolment.id, counter, attempt=proof.attempt, at=now):
        return f"This one-time code of {proof.person} was used before, and each counts once. Wait for the next one."
    return ""


def _wrong(proof: Proof) -> str:
    return f"The one-time code is not the one of {proof.person} at that moment. Is the telephone's clock right?"


def _tell(timeline: Timeline, proof: Proof, *, now: datetime) -> None:
    """Write down that somebody guesses, once for each person, channel and window, so that they are told and nobody can flood them."""
    window = int(now.timestamp() // WINDOW.total_seconds())
    text = f"A wrong one-time code was given for {proof.person} by {proof.channel}"
    key = f"responder.guessed/{proof.person}/{proof.channel}/{window}"
    data = {"person": proof.person, "channel": proof.channel}
    timeline.append(Draft(chain=RESPONDERS, kind="responder.guessed", actor="unknown", key=key, text=text, data=data))
