"""`Gate`: one question to people, and what may be answered."""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from stopgap.redact import Redaction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from stopgap.incidents.model import RunId
    from stopgap.policy.model import Escalation, PersonId, RoleName
    from stopgap.runbook.model import StepId
    from stopgap.timeline.entry import Entry


_SHORT, _LONG = 100, 2000  # characters of what somebody says; the form takes no more, but anybody may write past the form


class Question(enum.StrEnum):
    """What a gate asks."""

    APPROVE = "approve"  # may this change be made?
    DOUBT = "doubt"  # a step started and nobody knows what became of it
    CONFIRM = "confirm"  # a human does the step: has it been done?
    PROPOSAL = "proposal"  # an alert asks for a run: may it begin?
    OUTCOME = "outcome"  # a drill: how did this step end?
    UPDATE = "update"  # may the public be told this?


class Answer(enum.StrEnum):
    """What may be decided; the values are the words in the form."""

    APPROVE = "approve"
    WITHIN = "approve within the bounds"  # offered where a gate names bounds, after two approvals were void
    SKIP = "skip this step"
    STOP = "stop the run"
    UNDO = "stop and undo"
    DONE = "it is done"
    WITHDRAW = "withdraw my approval"
    AGAIN = "try again"
    WORKED = "it worked"
    FAILED = "it failed"


ANSWERS: Mapping[Question, tuple[Answer, ...]] = {
    Question.APPROVE: (Answer.APPROVE, Answer.SKIP, Answer.STOP, Answer.UNDO),
    Question.DOUBT: (Answer.DONE, Answer.AGAIN, Answer.STOP),
    Question.CONFIRM: (Answer.DONE, Answer.SKIP, Answer.STOP),
    Question.PROPOSAL: (Answer.APPROVE, Answer.STOP),
    Question.UPDATE: (Answer.APPROVE, Answer.STOP),
    Question.OUTCOME: (Answer.WORKED, Answer.FAILED, Answer.STOP),
}
APPROVALS = frozenset({Answer.APPROVE, Answer.WITHIN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer that counts. `standing` says as what they answered: which role they held or stood in for.

    `number` is the entry's in the incident's chain; `enrolment` that of the one-time code that proved it, empty when policy asks for none.
    """

    person: PersonId
    answer: Answer
    reason: str
    at: datetime
    number: int
    enrolment: str = ""
    standing: str = ""
    breaks_glass: bool = False  # an approval that counts alone

    @property
    def who(self) -> str:
        """The person, and as what they answered."""
        return f"{self.person} ({self.standing})" if self.standing else self.person


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A question that waits for people.

    `digest` binds an answer to run, step, round and exactly what is asked; 16 hexadecimal digits. `by` empty: any person in policy.
    `expires_at` and the moment of escalation are counted from when the gate was asked, on the timeline's clock.
    """

    run: RunId
    step: StepId
    round: int
    question: Question
    digest: str
    by: tuple[RoleName, ...]
    approvers: int
    expires: timedelta
    asked_at: datetime
    starter: str
    allow_self: bool
    asks: Mapping[str, Any] = field(default_factory=dict)  # what the form shows: the change, the difference, the reason for asking
    escalate: tuple[Escalation, ...] = ()
    answers: tuple[Answered, ...] = ()
    lapsed: tuple[str, ...] = ()  # which approvals count no more, and why
    refused: tuple[str, ...] = ()
    newest: str = ""  # what was said to it last, whether it counted or not
    decided: Entry | None = None
    voided: bool = False

    @property
    def expires_at(self) -> datetime:
        """From this moment on only expiry can happen."""
        return self.asked_at + self.expires

    @property
    def approved_by(self) -> tuple[PersonId, ...]:
        """The different people who approved, in order."""
        return tuple(dict.fromkeys(each.person for each in self.answers if each.answer in APPROVALS))

    @property
    def allowed(self) -> tuple[Answer, ...]:
        """The answers that this question takes: within bounds where it names some; who may approve with others may also withdraw."""
        within = (Answer.WITHIN,) if self.bounds else ()
        withdraw = (Answer.WITHDRAW,) if self.question is Question.APPROVE and self.approvers > 1 else ()
        found = (each for answer in ANSWERS[self.question] for each in ((answer, *within) if answer is Answer.APPROVE else (answer,)))
        return (*found, *withdraw)

    @property
    def bounds(self) -> dict[str, dict[str, Any]]:
        """The bounds within which it may be approved, by the name of what moves; see `approvals.bounds`."""
        return dict(self.asks.get("bounds", {}))

    @property
    def is_refused(self) -> bool:
        """It was decided or expired, and the change may not be made."""
        return self.decided is not None and not self.voided and self.answer not in APPROVALS

    @property
    def still_needed(self) -> int:
        """How many more different people must approve."""
        return max(self.approvers - len(self.approved_by), 0)

    @property
    def is_settled(self) -> bool:
        """The answers are enough for a decision: one that is no approval, approvals that are a quorum, or a broken glass."""
        return not self.still_needed or any(each.breaks_glass or each.answer not in APPROVALS for each in self.answers)

    @property
    def is_open(self) -> bool:
        """It still waits for an answer."""
        return self.decided is None and not self.voided

    @property
    def answer(self) -> Answer | None:
        """What was decided; None while open, and when it expired."""
        if self.decided is None or self.decided.kind == "gate.expired":
            return None
        return Answer(self.decided.data["answer"])

    @property
    def has_expired(self) -> bool:
        """Nobody decided in time."""
        return self.decided is not None and self.decided.kind == "gate.expired"

    def roles(self, now: datetime) -> tuple[RoleName, ...]:
        """Return who may decide at this moment: `by`, and each next role once the question was escalated to it."""
        return (*self.by, *(each.to for each in self.escalate if now >= self.asked_at + each.after))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Somebody's answer, as it came in.

    `id` is the same whenever this very answer is read again (`form/<flow run>/<key>`, or a fresh one for each `stopgap approve`), so that
    it is decided once. `channel` says how it came: "Prefect form", "terminal". `code` is the one-time code, which nothing may print;
    `received` is when the answer came in, by the clock of the server that took it; None: it was read as it came.
    """

    id: str
    person: str
    answer: str
    digest: str
    reason: str
    channel: str
    code: str = field(default="", repr=False)
    received: datetime | None = None
    breaks_glass: bool = False

    @classmethod
    def of_form(cls, *, id: str, fields: Mapping[str, Any], received: datetime | None) -> Self:  # noqa: A002  the field's own name
        """Read what the Prefect form sent; anything may stand in it, even the code in another field."""
        code = str(fields.get("code") or "").strip()
        words = Redaction([code])

        def said(name: str, most: int) -> str:
            return words.text(str(fields.get(name) or "").strip())[:most]

        return cls(
            id=id,
            person=said("name", _SHORT),
            answer=said("decision", _SHORT),
            digest=said("change", _SHORT),
            reason=said("reason", _LONG),
            channel="Prefect form",
            code=code,
            received=received,
        )


def bind(*, run: str, step: str, round: int, asks: Mapping[str, Any]) -> str:  # noqa: A002  the field's word
    """Return the digest of a question: 16 hexadecimal digits over run, step, round and everything that is asked."""
    text = json.dumps({"run": run, "step": step, "round": round, "asks": asks}, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
