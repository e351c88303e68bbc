"""Who is enrolled for one-time codes: a fold over a chain of its own. A row with a secret alone enrols nobody."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stopgap.approvals import sealing
from stopgap.policy.model import PersonId
from stopgap.problems import StopgapError
from stopgap.timeline.chain import RESPONDERS
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Timeline


class NotAllowedError(StopgapError):
    """Not everybody may enrol or revoke."""


class ChangedMeanwhileError(StopgapError):
    """Somebody else enrolled or revoked at the same moment. Look and try again:  stopgap responder list"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """Since `since`, one-time codes made from the secret kept under `id` prove that it is this person. `by` enrolled them."""

    id: str
    person: PersonId
    since: datetime
    by: str

    @property
    def bound(self) -> str:
        """What the sealed secret is bound to."""
        return f"{self.person}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Everybody enrolled at a moment, everybody who ever was, and how long the chain was then."""

    enrolled: Mapping[PersonId, Enrolment]
    ever: frozenset[PersonId]
    length: int


_CHANGES = frozenset({"responder.enrolled", "responder.revoked"})  # the chain also says who guessed, and who was told


def roll(timeline: Timeline) -> Roll:
    """Read who is enrolled now."""
    enrolled: dict[PersonId, Enrolment] = {}
    ever: set[PersonId] = set()
    entries = [entry for entry in timeline.of_chain(RESPONDERS) if entry.kind in _CHANGES]
    for entry in entries:
        person = PersonId(
            entry.data.get("person", "")
        )  # somebody without the key may have written anything; the chain then counts for nothing
        if entry.kind == "responder.enrolled":
            enrolled[person] = Enrolment(id=entry.data.get("enrolment", ""), person=person, since=entry.at, by=entry.actor)
            ever.add(person)
        elif entry.kind == "responder.revoked":
            enrolled.pop(person, None)
    return Roll(enrolled=enrolled, ever=frozenset(ever), length=len(entries))


def is_first(found: Roll, policy: Policy) -> bool:
    """Whether an enrolment needs nobody's code yet: no administrator (without any named, nobody at all) was ever enrolled."""
    return found.ever.isdisjoint(policy.administrators) if policy.administrators else not found.ever


def require_allowed(found: Roll, policy: Policy, *, person: PersonId, by: str) -> bool:
    """NotAllowedError unless `by` may enrol or revoke this person. Returns whether `by` must prove it with a code: all but the first."""
    administrators = policy.administrators
    if is_first(found, policy):
        if administrators and person not in administrators:
            raise NotAllowedError(
                f"The first to be enrolled is an administrator of policy.yaml: {' or '.join(administrators)}.\n"
                f"Enrol them first:  stopgap responder enrol {administrators[0]}"
            )
        return False
    able = [each for each in dict.fromkeys([*administrators, person]) if each in found.enrolled]
    if PersonId(by) in able:
        return True
    if not able:
        raise NotAllowedError(
            f"Changing {person}'s enrolment needs the code of an enrolled administrator, and none is enrolled.\n"
            'Name another under "administrators" in policy.yaml, and enrol them:  stopgap responder enrol NAME'
        )
    raise NotAllowedError(
        f"{by} may not change {person}'s enrolment; {' or '.join(able)} may, with their code.\n"
        f"Say who does it:  stopgap responder ... {person} --as {able[0]}"
    )


def enrol(timeline: Timeline, found: Roll, *, person: PersonId, by: str, secret: str) -> Enrolment:
    """Enrol somebody, in place of an earlier enrolment of theirs. ChangedMeanwhileError when `found` is no longer so."""
    new, before = secrets.token_hex(8), found.enrolled.get(person)
    bound = f"{person}/{new}"
    timeline.proofs.keep(new, sealing.seal(secret, bound=bound, key=sealing.make_key()))
    text = f"{by} enrolled {person} for one-time codes{' anew' if before else ''}"
    try:
        _append(timeline, found, kind="responder.enrolled", by=by, text=text, data={"person": person, "enrolment": new})
    except ChangedMeanwhileError:
        timeline.proofs.forget(new)
        raise
    if before:
        timeline.proofs.forget(before.id)
    return roll(timeline).enrolled[person]


def revoke(timeline: Timeline, found: Roll, *, person: PersonId, by: str) -> None:
    """Let no code of this person count any more. ChangedMeanwhileError when `found` is no longer so."""
    before = found.enrolled[person]
    text = f"{by} revoked the one-time codes of {person}"
    _append(timeline, found, kind="responder.revoked", by=by, text=text, data={"person": person, "enrolment": before.id})
    timeline.proofs.forget(before.id)


def _append(timeline: Timeline, found: Roll, *, kind: str, by: str, text: str, data: Mapping[str, str]) -> None:  # noqa: PLR0913  an entry's parts
    # One winner for each place in the chain: nobody enrols by what was true a moment ago.
    key = f"responder/{found.length + 1}"
    draft = Draft(chain=RESPONDERS, kind=kind, actor=by, key=key, text=text, data=data)
    if not timeline.append(draft).won:
        raise ChangedMeanwhileError
