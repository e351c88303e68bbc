"""Who holds a role in an incident, and how it changes hands."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from stopgap.approvals import handover
from stopgap.incidents import roles
from stopgap.incidents.open import open_incident
from stopgap.policy.model import ApprovalRules, Person, PersonId, Policy, Role, RoleName, Severity

if TYPE_CHECKING:
    from stopgap.testing import ManualClock
    from stopgap.timeline.entry import Timeline

COMMANDER, SCRIBE = RoleName("incident-commander"), RoleName("scribe")
POLICY = Policy(
    people={PersonId(each): Person(id=PersonId(each), name=each.title()) for each in ("ada", "ben", "chen", "dana")},
    roles={
        COMMANDER: Role(name=COMMANDER, holders=(PersonId("ada"),), deputies=(PersonId("ben"),)),
        SCRIBE: Role(name=SCRIBE, holders=(PersonId("chen"), PersonId("ada"))),
    },
    approvals=ApprovalRules(require_code=False),
)


def desk(timeline: Timeline, clock: ManualClock) -> handover.Desk:
    incident = open_incident(timeline, title="t", severity=Severity.SEV3, actor="zoe", key=uuid.uuid4().hex)
    return handover.open_desk(timeline, POLICY, clock, incident=incident)


def hand(person: str) -> handover.Hand:
    return handover.Hand(person=person, code="", attempt=uuid.uuid4().hex)


def now(at: handover.Desk) -> roles.Roles:
    return roles.fold(at.timeline.of_chain(at.incident.id))


def test_a_role_changes_hands_only_when_the_new_holder_acknowledges_it(any_timeline: Timeline, clock: ManualClock) -> None:
    at = desk(any_timeline, clock)
    assert at.assign(COMMANDER, "ada", hand=hand("ada")) == "ada took the role incident-commander"
    assert at.assign(COMMANDER, "ben", hand=hand("ada"), reason="going to bed") == (
        "ada gives the role incident-commander to ben, who must acknowledge it: going to bed"
    )
    assert (now(at).holder(COMMANDER), now(at).offered[COMMANDER].person) == ("ada", "ben")
    said = at.acknowledge(COMMANDER, hand=hand("ben"), accepts=True)
    assert said == "ben acknowledged and holds the role incident-commander, until now ada"
    assert (now(at).holder(COMMANDER), dict(now(at).offered)) == ("ben", {})


def test_who_held_a_role_at_a_moment_is_read_from_the_timeline(any_timeline: Timeline, clock: ManualClock) -> None:
    at = desk(any_timeline, clock)
    at.assign(COMMANDER, "ada", hand=hand("ada"))
    then = clock.now()
    clock.advance(timedelta(minutes=5))
    at.assign(COMMANDER, "ben", hand=hand("ben"))
    entries = any_timeline.of_chain(at.incident.id)
    assert [roles.fold(entries, at=moment).holder(COMMANDER) for moment in (then, clock.now())] == ["ada", "ben"]
    assert roles.fold(entries, at=then - timedelta(seconds=1)).holder(COMMANDER) is None


def test_who_handed_a_role_over_no_longer_acts_as_it_and_deputies_stay(any_timeline: Timeline, clock: ManualClock) -> None:
    at = desk(any_timeline, clock)
    assert roles.acting(POLICY, now(at), COMMANDER) == ("ada", "ben")
    at.assign(COMMANDER, "ben", hand=hand("ben"))
    assert roles.acting(POLICY, now(at), COMMANDER) == ("ben", "ada")
    at.assign(COMMANDER, "ada", hand=hand("ada"))
    assert roles.acting(POLICY, now(at), COMMANDER) == ("ada", "ben")
    at.assign(COMMANDER, "ben", hand=hand("ben"))
    assert roles.acting(POLICY, now(at), COMMANDER) == ("ben",)
    at.leave(COMMANDER, hand=hand("ben"))
    assert roles.acting(POLICY, now(at), COMMANDER) == ("ben",)


def test_declined_and_left_roles(any_timeline: Timeline, clock: ManualClock) -> None:
    at = desk(any_timeline, clock)
    at.assign(SCRIBE, "chen", hand=hand("ada"))
    assert at.acknowledge(SCRIBE, hand=hand("chen"), accepts=False, reason="driving") == "chen declined the role scribe: driving"
    assert now(at).holder(SCRIBE) is None
    at.assign(SCRIBE, "chen", hand=hand("chen"))
    assert at.leave(SCRIBE, hand=hand("chen")) == "chen left the role scribe; nobody holds it"


@pytest.mark.parametrize(
    ("role", "person", "by", "said"),
    [
        ("driver", "ada", "ada", 'policy.yaml names no role "driver". The roles are incident-commander, scribe.'),
        ("scribes", "ada", "ada", 'policy.yaml names no role "scribes". Did you mean "scribe"?'),
        (
            "incident-commander",
            "adda",
            "ada",
            'policy.yaml knows nobody called "adda". Did you mean ada? ada, ben may hold incident-commander.',
        ),
        ("incident-commander", "chen", "ada", "chen may not hold incident-commander: policy.yaml names ada, ben for it."),
        ("incident-commander", "ben", "dana", "dana may not assign incident-commander; ada, ben may."),
        ("incident-commander", "ben", "", "Nobody named may not assign incident-commander; ada, ben may."),
    ],
)
def test_a_role_goes_only_to_whom_policy_names(  # noqa: PLR0913, PLR0917  one a column
    any_timeline: Timeline, clock: ManualClock, role: str, person: str, by: str, said: str
) -> None:
    at = desk(any_timeline, clock)
    with pytest.raises(handover.NotAllowedError) as refused:
        at.assign(role, person, hand=hand(by))
    assert str(refused.value) == said
    assert [entry.kind for entry in any_timeline.of_chain(at.incident.id)] == ["incident.opened"]


def test_nobody_accepts_for_another(any_timeline: Timeline, clock: ManualClock) -> None:
    at = desk(any_timeline, clock)
    at.assign(COMMANDER, "ben", hand=hand("ada"))
    with pytest.raises(handover.NotAllowedError, match="does not wait for ada: it is offered to ben"):
        at.acknowledge(COMMANDER, hand=hand("ada"), accepts=True)


def test_of_two_who_take_a_role_at_once_one_wins(timeline: Timeline, clock: ManualClock) -> None:
    at = desk(timeline, clock)

    def take(person: str) -> str:
        try:
            return at.assign(COMMANDER, person, hand=hand(person))
        except handover.ChangedMeanwhileError:
            return "too late"

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(take, ["ada", "ben"]))
    entries = [entry for entry in timeline.of_chain(at.incident.id) if entry.kind == "incident.role"]
    assert len(entries) == 2 - said.count("too late")
    assert now(at).holder(COMMANDER) == entries[-1].data["person"]


def test_with_codes_a_role_is_taken_only_with_ones_own(any_timeline: Timeline, clock: ManualClock) -> None:
    at = desk(any_timeline, clock)
    strict = handover.Desk(
        timeline=any_timeline, policy=Policy(people=POLICY.people, roles=POLICY.roles), clock=clock, incident=at.incident
    )
    with pytest.raises(handover.NotAllowedError, match="ada is not enrolled for one-time codes"):
        strict.assign(COMMANDER, "ada", hand=hand("ada"))
    assert now(at).holder(COMMANDER) is None
