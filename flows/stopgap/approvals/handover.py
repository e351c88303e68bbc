"""Roles change hands: assigned and acknowledged, taken, left. Each is proved by the one-time code of whoever does it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stopgap.approvals import codes
from stopgap.incidents import fold, roles
from stopgap.incidents.roles import COMMANDER, Act
from stopgap.policy.model import PersonId, RoleName
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from stopgap.clock import Clock
    from stopgap.incidents.model import Incident
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Timeline


class NotAllowedError(StopgapError):
    """Not everybody may hold or give away this role."""


class ChangedMeanwhileError(StopgapError):
    """Somebody else changed this role at the same moment. Look and try again:  stopgap incident roles INC"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """Whoever does it, as they came in: their id, their one-time code, and what names this very act for the code."""

    person: str
    code: str
    attempt: str
    channel: str = codes.TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where roles change hands: one incident, under one policy."""

    timeline: Timeline
    policy: Policy
    clock: Clock
    incident: Incident

    def assign(self, role: str, person: str, *, hand: Hand, reason: str = "") -> str:
        """Give a role to somebody who must still acknowledge it; whoever gives it to themselves has it at once. Returns the sentence."""
        named, found = self._role(role), self._found()
        to = self._may_hold(named, person)
        by = self._may_give(named, found, hand)
        if to == by:
            if found.holder(named) == to:
                raise NotAllowedError(f"{to} holds {named} on {self.incident.id} already.")
            before = found.holder(named)
            text = f"{to} took the role {named}{f' from {before}' if before else ''}"
            return self._change(found, role=named, person=to, act=Act.TAKEN, hand=hand, text=text, reason=reason)
        text = f"{by} gives the role {named} to {to}, who must acknowledge it"
        return self._change(found, role=named, person=to, act=Act.OFFERED, hand=hand, text=text, reason=reason)

    def acknowledge(self, role: str, *, hand: Hand, accepts: bool, reason: str = "") -> str:
        """Take over a role that was given to this person, or decline it; only then it has changed hands."""
        named, found = self._role(role), self._found()
        offer = found.offered.get(named)
        if offer is None or offer.person != hand.person:
            said = f"it is offered to {offer.person}" if offer else "nobody offers it"
            raise NotAllowedError(
                f"The role {named} on {self.incident.id} does not wait for {hand.person}: {said}.\n"
                f"Take it yourself:  stopgap incident assign {self.incident.id} {named} {hand.person}"
            )
        if not accepts:
            text = f"{offer.person} declined the role {named}"
            return self._change(found, role=named, person=offer.person, act=Act.DECLINED, hand=hand, text=text, reason=reason)
        self._may_hold(named, offer.person)  # policy may have changed since
        before = found.holder(named)
        text = f"{offer.person} acknowledged and holds the role {named}{f', until now {before}' if before else ''}"
        return self._change(found, role=named, person=offer.person, act=Act.ACCEPTED, hand=hand, text=text, reason=reason)

    def leave(self, role: str, *, hand: Hand, reason: str = "") -> str:
        """Give a role up without a successor."""
        named, found = self._role(role), self._found()
        holder = found.holder(named)
        if holder is None or holder != hand.person:
            raise NotAllowedError(f"{hand.person} does not hold {named} on {self.incident.id}; {holder or 'nobody'} does.")
        text = f"{holder} left the role {named}; nobody holds it"
        return self._change(found, role=named, person=holder, act=Act.LEFT, hand=hand, text=text, reason=reason)

    def _found(self) -> roles.Roles:
        return roles.fold(self.timeline.of_chain(self.incident.id))

    def _role(self, name: str) -> RoleName:
        if name not in self.policy.roles:
            near = difflib.get_close_matches(name, self.policy.roles, n=1)
            hint = f'Did you mean "{near[0]}"?' if near else f"The roles are {', '.join(self.policy.roles)}."
            raise NotAllowedError(f'policy.yaml names no role "{name}". {hint}')
        return RoleName(name)

    def _may_hold(self, role: RoleName, name: str) -> PersonId:
        able = self.policy.holders(role)
        if name not in self.policy.people:
            near = difflib.get_close_matches(name, self.policy.people, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise NotAllowedError(f'policy.yaml knows nobody called "{name}".{hint} {", ".join(able) or "Nobody"} may hold {role}.')
        if name not in able:
            raise NotAllowedError(f"{name} may not hold {role}: policy.yaml names {', '.join(able) or 'nobody'} for it.")
        return PersonId(name)

    def _may_give(self, role: RoleName, found: roles.Roles, hand: Hand) -> PersonId:
        """Who holds or may hold the role, and who may command, may give it away."""
        able = dict.fromkeys([*self.policy.holders(role), *self.policy.holders(COMMANDER), *filter(None, [found.holder(role)])])
        if hand.person not in able:
            raise NotAllowedError(f"{hand.person or 'Nobody named'} may not assign {role}; {', '.join(able) or 'nobody'} may.")
        return PersonId(hand.person)

    def _change(  # noqa: PLR0913  an entry's parts
        self, found: roles.Roles, *, role: RoleName, person: PersonId, act: Act, hand: Hand, text: str, reason: str
    ) -> str:
        self._prove(hand)
        text = f"{text}: {reason}" if reason else text
        draft = roles.change(self.incident.id, found, role=role, person=person, act=act, by=hand.person, text=text, reason=reason)
        if not self.timeline.append(draft).won:
            raise ChangedMeanwhileError(
                f"Somebody else changed the role {role} on {self.incident.id} at the same moment. "
                f"Look and try again:  stopgap incident roles {self.incident.id}"
            )
        return text

    def _prove(self, hand: Hand) -> None:
        """Last of all, so that a code is used up only by an act that counts."""
        if self.policy.approvals.require_code:
            proof = codes.Proof(attempt=hand.attempt, person=PersonId(hand.person), code=hand.code, channel=hand.channel)
            objection = codes.check(self.timeline, proof, now=self.clock.now())
            if objection:
                raise NotAllowedError(objection)


def open_desk(timeline: Timeline, policy: Policy, clock: Clock, *, incident: str) -> Desk:
    """Return where the roles of this incident change hands; UnknownIncidentError without one."""
    return Desk(timeline=timeline, policy=policy, clock=clock, incident=fold.find_incident(timeline, incident))
