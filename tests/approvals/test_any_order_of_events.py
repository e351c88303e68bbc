"""Whatever the order of questions, answers, drifts, crashes, conflicts and clock steps: no change is made without a full quorum for exactly it.

The rule is written down here once more, in the words of a bystander who sees the questions, keeps a list of who answered what, and looks at
what reaches the system; nothing of the product's own judgement is asked.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import hypothesis
import pyotp
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from stopgap.actions.contract import Action, Change, ConflictError, Context, InDoubtError, Outcome, Probe, Target, action
from stopgap.approvals import decide, responders
from stopgap.approvals.model import Answer, Attempt
from stopgap.clock import parse_duration
from stopgap.engine import life
from stopgap.engine.stage import Part
from stopgap.engine.work import Work
from stopgap.incidents import fold, roles
from stopgap.incidents.model import Mode
from stopgap.incidents.open import open_incident, request_run
from stopgap.policy.model import ApprovalRules, Person, PersonId, Policy, Role, RoleName, Severity
from stopgap.problems import Position
from stopgap.runbook.model import ApprovalRequest, Retry, Runbook, Step, StepId
from stopgap.testing import ManualClock, MemoryTimeline, ScriptedStage

if TYPE_CHECKING:
    import pytest

    from stopgap.timeline.entry import Appended, Draft, Entry

COMMANDER, STEP, CODE = RoleName("incident-commander"), StepId("scale"), 30
PEOPLE = ("ada", "ben", "chen", "dana", "eve")  # eve never holds a role; dana starts every run and holds it too
EXPIRES = timedelta(minutes=15)
BOOK = Runbook(name="r", title="R", description="", owner="ada", severity=Severity.SEV3, path=Path("r.yaml"), digest="0" * 64, steps=())
MADE: Counter[tuple[str, int, int]] = Counter()  # changes that were made: how, in which round, with how many approvers


class Killed(BaseException):
    """The process was killed."""


@dataclass(slots=True, kw_only=True)
class System:
    """What the step changes: so many replicas of two things. `version` moves with every write, as a resourceVersion does."""

    replicas: int = 3
    version: int = 1
    meddles: list[int | None] = field(default_factory=list)  # before the next writes: another number of replicas, or only another version
    after_write: str = ""  # "lost": the answer gets lost; "unknown": and the system cannot tell afterwards
    made: list[tuple[str, int, int]] = field(default_factory=list)  # which, from, to
    mark: str = ""
    can_tell: bool = True

    def write(self, thing: str, replicas: int, *, version: int, mark: str) -> None:
        if self.meddles:
            other = self.meddles.pop(0)
            self.replicas, self.version = (self.replicas if other is None else other), self.version + 1
        if version != self.version:
            raise ConflictError("somebody else wrote meanwhile")
        self.made.append((thing, self.replicas, replicas))
        self.replicas, self.version, self.mark = replicas, self.version + 1, mark


def toy_of(system: System) -> type[Any]:
    """Return an action on this system."""

    @action
    class Toy:
        name: ClassVar[str] = "toy"
        effect: ClassVar[str] = "changes"
        risk: ClassVar[str] = "low"
        undoes: ClassVar[str] = "yes"
        waits: ClassVar[bool] = False
        confirms: ClassVar[bool] = False
        default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
        thing: str
        replicas: int

        def targets(self) -> frozenset[Target]:
            return frozenset({Target("the/only/one")})

        def plan(self, context: Context) -> Change:
            assert context
            now = {"replicas": system.replicas}
            after = {"replicas": self.replicas}
            return Change(summary=f"to {self.replicas}", now=now, after=after, material=now, precondition=str(system.version))

        def apply(self, context: Context, change: Change) -> Outcome:
            system.write(self.thing, self.replicas, version=int(change.precondition), mark=context.mark)
            if system.after_write:
                system.can_tell, system.after_write = system.after_write == "lost", ""
                raise InDoubtError("the answer got lost")
            return Outcome(changed=True, summary="done")

        def probe(self, context: Context, change: Change) -> Probe:
            assert change
            if not system.can_tell:
                return Probe.UNKNOWN
            return Probe.DONE if system.mark == context.mark else Probe.NOT_DONE

        def undo(self, change: Change) -> Action | None:
            assert change
            return None

    return Toy


class Mortal(MemoryTimeline):
    """A timeline whose writer is killed at the entry that `fuse` counts down to, before or after it is written."""

    fuse: int = 0
    dies_after: bool = False

    def append(self, draft: Draft) -> Appended:
        self.fuse -= 1
        if self.fuse == 0 and not self.dies_after:
            raise Killed
        done = super().append(draft)
        if self.fuse == 0:
            raise Killed
        return done


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer that, by the bystander's own rules, may count."""

    person: str
    answer: str
    digest: str
    telephone: str  # its secret


class AnyOrder(RuleBasedStateMachine):
    """One run after the other; each rule is something that may happen at any moment."""

    approvers = 1

    @initialize(approvers=some.sampled_from([1, 2]))
    def begin(self, approvers: int) -> None:
        self.clock = ManualClock()
        self.timeline = Mortal(clock=self.clock)
        self.system, self.thing, self.checked, self.approvers = System(), "web", 0, approvers
        self.holders = ["ada", "ben", "chen", "dana"]
        self.apps: dict[str, pyotp.TOTP] = {}
        for person in PEOPLE:
            secret = pyotp.random_base32()
            responders.enrol(self.timeline, responders.roll(self.timeline), person=PersonId(person), by="installer", secret=secret)
            self.apps[person] = pyotp.TOTP(secret)
        self.last: dict[str, str] = {}  # the code that last counted
        self.used: set[tuple[str, int]] = set()
        self.next_run()

    def next_run(self) -> None:
        key = uuid.uuid4().hex
        incident = open_incident(self.timeline, title="t", severity=Severity.SEV3, actor="dana", key=key)
        self.commander, self.relieved = "", set[str]()
        self.run = request_run(self.timeline, incident=incident, runbook=BOOK, parameters={}, mode=Mode.LIVE, starter="dana", key=key)
        self.said: list[Said] = []
        self.system.can_tell = True

    # what happens

    @rule(fuse=some.sampled_from([0, 0, 0, 1, 2, 3, 4]), dies_after=some.booleans())
    def a_process_carries_the_run_on(self, fuse: int, dies_after: bool) -> None:  # noqa: FBT001  drawn
        self.timeline.fuse, self.timeline.dies_after = fuse, dies_after
        work = Work(
            timeline=self.timeline, clock=self.clock, policy=self.policy(), runbook=BOOK, id=self.run.id, mode=Mode.LIVE, parameters={}
        )
        try:
            asyncio.run(life.carry_out(work, self.part(), ScriptedStage(work)))
        except (ScriptedStage.StillWaiting, Killed):
            return
        finally:
            self.timeline.fuse = 0
        self.no_change_without_its_quorum()
        self.next_run()

    @rule()
    def the_run_goes_on(self) -> None:
        self.a_process_carries_the_run_on(fuse=0, dies_after=False)

    @rule(
        answer=some.sampled_from([Answer.APPROVE, Answer.APPROVE, Answer.WITHIN]),
        few=some.integers(0, 3),
        first=some.integers(0, 3),
        code=some.sampled_from(["right"] * 4 + ["early", "none"]),
        waits=some.booleans(),
    )
    def it_asks_and_people_approve(self, answer: Answer, few: int, first: int, code: str = "right", *, waits: bool = True) -> None:
        """Left to chance alone, hardly any question would ever be approved; now and then one person too few does."""
        self.the_run_goes_on()
        for person in (PEOPLE[first:4] + PEOPLE[:first])[: self.approvers - (few == 0)]:
            self.clock.advance(timedelta(seconds=CODE + 1 if waits else 0))
            self.somebody_answers(person=person, answer=answer, code=code, to="open", age=None)

    @rule(
        answer=some.sampled_from([Answer.APPROVE, Answer.APPROVE, Answer.WITHIN]),
        few=some.integers(0, 5),
        first=some.integers(0, 3),
        meanwhile=some.one_of(some.none(), some.none(), some.integers(0, 9)),
    )
    def it_is_approved_and_goes_on(self, answer: Answer, few: int, first: int, meanwhile: int | None) -> None:
        self.it_asks_and_people_approve(answer=answer, few=few, first=first)
        if meanwhile is not None:
            self.it_drifts(replicas=meanwhile)
        self.the_run_goes_on()

    def they_answer(self, *answers: tuple[str, Answer], code: str = "right") -> None:
        for person, answer in answers:
            self.clock.advance(timedelta(seconds=CODE + 1))
            self.somebody_answers(person=person, answer=answer, code=code, to="open", age=None)

    @rule(no=some.sampled_from([Answer.SKIP, Answer.STOP]), first=some.sampled_from([Answer.APPROVE, None]))
    def one_says_no_and_others_approve(self, no: Answer, first: Answer | None) -> None:
        self.the_run_goes_on()
        self.they_answer(*([("ada", first)] if first else []), ("ben", no), ("chen", Answer.APPROVE), ("ada", Answer.APPROVE))
        self.the_run_goes_on()

    @rule(then=some.sampled_from(["ben", "ada"]))
    def one_takes_their_approval_back(self, then: str) -> None:
        self.the_run_goes_on()
        self.they_answer(("ada", Answer.APPROVE), ("ada", Answer.WITHDRAW), (then, Answer.APPROVE))
        self.the_run_goes_on()

    @rule(people=some.sampled_from(["ada", "ben", "chen"]), code=some.sampled_from(["again", "right"]))
    def one_code_is_tried_twice(self, people: str, code: str) -> None:
        self.the_run_goes_on()
        self.they_answer((people, Answer.APPROVE))
        self.the_run_goes_on()
        self.the_run_goes_on()  # the next run asks
        self.somebody_answers(person=people, answer=Answer.APPROVE, code=code, to="open", age=None)
        self.the_run_goes_on()

    @rule(
        seen=some.lists(some.integers(0, 9), min_size=2, max_size=2),
        answers=some.lists(some.sampled_from([Answer.WITHIN, Answer.WITHIN, Answer.APPROVE]), min_size=2, max_size=2),
        then=some.integers(0, 40),
    )
    def it_moves_until_bounds_are_offered(self, seen: list[int], answers: list[Answer], then: int) -> None:
        for replicas in seen:
            self.the_run_goes_on()
            self.they_answer(("ada", Answer.APPROVE), ("ben", Answer.APPROVE))
            self.it_drifts(replicas=replicas)
        self.the_run_goes_on()
        self.they_answer(*zip(("ada", "ben"), answers, strict=True))
        self.it_drifts(replicas=then)
        self.the_run_goes_on()

    @rule(
        person=some.sampled_from(PEOPLE),
        answer=some.sampled_from(
            [Answer.APPROVE] * 4 + [Answer.WITHIN, Answer.WITHDRAW, Answer.SKIP, Answer.STOP, Answer.AGAIN, Answer.DONE]
        ),
        code=some.sampled_from(["right"] * 6 + ["last", "early", "ben's", "none"]),
        to=some.sampled_from(["open"] * 5 + ["first", "junk"]),
        age=some.sampled_from([None, None, timedelta(seconds=1), timedelta(minutes=9), timedelta(minutes=11)]),
    )
    def somebody_answers(self, person: str, answer: Answer, code: str, to: str, age: timedelta | None) -> None:
        asked = self.asked()
        digest = str({"open": asked[-1], "first": asked[0]}[to].data["digest"]) if asked and to != "junk" else "0" * 16
        now = self.clock.now()
        came = now - age if age else now
        given = self.code(person, code, came)
        if asked and self.may_count(asked[-1], person=person, digest=digest, code=given, came=came):
            self.note(Said(person=person, answer=str(answer), digest=digest, telephone=self.apps[person].secret))
        before = self.answered()
        attempt = Attempt(
            id=uuid.uuid4().hex, person=person, answer=str(answer), digest=digest, reason="", channel=uuid.uuid4().hex, code=given,
            received=came if age else None,
        )  # fmt: skip
        decide.decide(self.timeline, self.policy(), self.clock, run=fold.find_run(self.timeline, self.run.id), attempt=attempt)
        self.no_approval_before_its_quorum()
        if self.answered() > before:
            self.last[person] = given
            self.used |= {(person, number) for number in self.counters(came) if self.apps[person].generate_otp(number) == given}

    @rule(replicas=some.integers(0, 9))
    def it_drifts(self, replicas: int) -> None:
        self.system.replicas, self.system.version = replicas, self.system.version + 1

    @rule(meddles=some.lists(some.one_of(some.none(), some.integers(0, 9)), min_size=1, max_size=3))
    def somebody_writes_between_our_read_and_our_write(self, meddles: list[int | None]) -> None:
        self.system.meddles = meddles

    @rule()
    def its_status_moves(self) -> None:
        self.system.version += 1

    @rule(how=some.sampled_from(["lost", "unknown"]))
    def the_next_answer_gets_lost(self, how: str) -> None:
        self.system.after_write = how

    @rule(thing=some.sampled_from(["web", "db"]))
    def its_arguments_render_otherwise(self, thing: str) -> None:
        self.thing = thing

    @rule(seconds=some.sampled_from([1, 29, 31, 120, 299, 301, 600, 901]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule(seconds=some.sampled_from([1, 45, 600, 7200]))
    def the_clock_goes_back(self, seconds: int) -> None:
        self.clock.set_back(timedelta(seconds=seconds))

    @rule(person=some.sampled_from(PEOPLE[:4]))
    def a_role_is_taken_away(self, person: str) -> None:
        self.holders = [each for each in self.holders if each != person]

    @rule(person=some.sampled_from(PEOPLE[:4]))
    def command_changes_hands(self, person: str) -> None:
        found = roles.fold(self.timeline.of_chain(self.run.incident))
        draft = roles.change(
            self.run.incident, found, role=COMMANDER, person=PersonId(person), act=roles.Act.TAKEN, by=person, text="takes it"
        )
        self.timeline.append(draft)
        self.takes_command(person)

    @rule(person=some.sampled_from(PEOPLE[:4]))
    def a_telephone_is_stolen(self, person: str) -> None:
        """Its codes are revoked, and somebody has another one: nothing that was said with the old one counts any more."""
        secret = pyotp.random_base32()
        responders.enrol(self.timeline, responders.roll(self.timeline), person=PersonId(person), by="installer", secret=secret)
        self.apps[person] = pyotp.TOTP(secret)
        self.used = {each for each in self.used if each[0] != person}

    @rule(
        how=some.sampled_from(["hands over", "loses the role", "loses the telephone"]),
        then=some.sampled_from(["ben", "chen"]),
        when=some.sampled_from(["before", "after"]),
    )
    def one_who_approved_may_not_any_more(self, how: str, then: str, when: str) -> None:
        """Before or after others have approved as well, and before the change is made."""
        self.the_run_goes_on()
        self.they_answer(("ada", Answer.APPROVE))
        if when == "after":
            self.they_answer((then, Answer.APPROVE))
        if how == "hands over":
            self.command_changes_hands(person="chen" if then == "ben" else "ben")
        elif how == "loses the role":
            self.a_role_is_taken_away(person="ada")
        else:
            self.a_telephone_is_stolen(person="ada")
        if when == "before":
            self.they_answer((then, Answer.APPROVE))
        self.the_run_goes_on()
        self.roles_are_given_back()

    @precondition(lambda self: len(self.holders) < len(PEOPLE) - 1)
    @rule()
    def roles_are_given_back(self) -> None:
        self.holders = list(PEOPLE[:4])

    # the bystander's rule

    @invariant()
    def no_change_without_its_quorum(self) -> None:
        for thing, was, now in self.system.made[self.checked :]:
            question = next(each for each in reversed(self.asked()) if each.data["question"] == "approve")
            asks = question.data["asks"]
            assert asks["arguments"] == {"thing": thing, "replicas": now}, "another thing than was asked about"
            said = [each for each in self.said if each.digest == question.data["digest"] and self.is_still_theirs(each)]
            exactly = was == asks["change"]["material"]["replicas"]
            wide = asks.get("bounds", {}).get("replicas", {"from": 1, "to": 0})
            assert exactly or wide["from"] <= was <= wide["to"], "it was something else when it was approved"
            words = {"approve", "approve within the bounds"} if exactly else {"approve within the bounds"}
            assert len({each.person for each in said if each.answer in words}) >= self.approvers, "too few approved exactly this"
            MADE["exactly" if exactly else "within bounds", question.data["round"], self.approvers] += 1
        self.checked = len(self.system.made)

    @invariant()
    def no_approval_before_its_quorum(self) -> None:
        for entry in self.timeline.of_run(self.run.id):
            if entry.kind == "gate.decided" and entry.data["answer"].startswith("approve"):
                people = {each.person for each in self.said if each.digest == entry.data["change"] and each.answer.startswith("approve")}
                assert len(people) >= self.approvers, "it was decided before enough had approved"

    def may_count(self, question: Entry, *, person: str, digest: str, code: str, came: datetime) -> bool:
        """Whether a careful reader of policy and question would let this answer count."""
        now = self.clock.now()
        came = came if now - came <= timedelta(minutes=10) else now
        counter = next((n for n in self.counters(came) if self.apps[person].generate_otp(n) == code), None)
        if counter is None or (person, counter) in self.used:
            return False
        if not self.may_act(person) or (person == "dana" and question.data["question"] == "approve"):
            return False
        if digest != question.data["digest"] or came >= question.at + parse_duration(question.data["expires"]):
            return False
        return not any(each.answer in {"skip this step", "stop the run"} for each in self.said if each.digest == digest)  # a no ends it

    def note(self, said: Said) -> None:
        """Write it down; whoever takes their approval back before it was enough has not approved, nor has who could not approve any more."""
        if self.is_enough(said.digest):
            if said.answer != Answer.WITHDRAW:
                self.said.append(said)
            return
        back = said.person if said.answer == Answer.WITHDRAW else ""
        self.said = [each for each in self.said if each.digest != said.digest or (self.stands(each) and each.person != back)]
        if said.answer != Answer.WITHDRAW:
            self.said.append(said)
            if not self.commander:
                self.takes_command(said.person)

    def is_enough(self, digest: str) -> bool:
        return len({each.person for each in self.said if each.digest == digest and each.answer.startswith("approve")}) >= self.approvers

    def takes_command(self, person: str) -> None:
        self.relieved |= {self.commander} - {""}
        self.relieved -= {person}
        self.commander = person

    def is_still_theirs(self, said: Said) -> bool:
        return said.person in self.holders and said.telephone == self.apps[said.person].secret

    def stands(self, said: Said) -> bool:
        return self.may_act(said.person) and self.is_still_theirs(said)

    def may_act(self, person: str) -> bool:
        return person in self.holders and person not in self.relieved

    def counters(self, at: datetime) -> list[int]:
        middle = int(at.timestamp()) // CODE
        return [middle - 1, middle, middle + 1]

    # where it happens

    def asked(self) -> list[Entry]:
        return [entry for entry in self.timeline.of_run(self.run.id) if entry.kind == "gate.asked"]

    def answered(self) -> int:
        return sum(entry.kind == "gate.answered" for entry in self.timeline.of_run(self.run.id))

    def code(self, person: str, which: str, came: datetime) -> str:
        if which == "again":
            return self.last.get(person, "")
        middle = int(came.timestamp()) // CODE
        number = {"right": middle, "last": middle - 1, "early": middle + 3, "ben's": middle, "none": 0}[which]
        return "" if which == "none" else self.apps["ben" if which == "ben's" else person].generate_otp(number)

    def policy(self) -> Policy:
        people = {PersonId(each): Person(id=PersonId(each), name=each.title()) for each in PEOPLE}
        role = Role(name=COMMANDER, holders=tuple(map(PersonId, self.holders)))
        return Policy(people=people, roles={COMMANDER: role}, approvals=ApprovalRules(require_code=True))

    def part(self) -> Part:
        wanted = ApprovalRequest(by=(COMMANDER,), approvers=self.approvers, expires=EXPIRES)
        step = Step(id=STEP, name="Scale", position=Position(1, 1), retry=Retry(attempts=3, delay=timedelta(0)))
        toy = toy_of(self.system)
        return Part(
            step=replace(step, approval=wanted),
            uses="toy",
            build=lambda: toy(thing=self.thing, replicas=5),
            request=lambda *_: (wanted, "it asks"),
        )


def test_no_change_is_made_without_a_full_quorum_for_exactly_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPGAP_SECRET_KEY", "the key of the secrets in these tests")
    quick = hypothesis.settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    MADE.clear()
    run_state_machine_as_test(AnyOrder, settings=quick)
    assert sum(MADE.values()) > 0, "otherwise hardly anything was tried"


def begun(approvers: int = 1) -> AnyOrder:
    found = AnyOrder()
    found.begin(approvers=approvers)
    return found


def test_the_machine_above_can_make_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPGAP_SECRET_KEY", "the key of the secrets in these tests")
    run = begun(approvers=2)
    run.a_process_carries_the_run_on(fuse=0, dies_after=False)
    for person in ("ada", "ben"):
        run.a_process_carries_the_run_on(fuse=0, dies_after=False)
        assert run.system.made == []
        run.somebody_answers(person=person, answer=Answer.APPROVE, code="right", to="open", age=None)
    run.a_process_carries_the_run_on(fuse=0, dies_after=False)
    assert run.system.made == [("web", 3, 5)]


def test_an_approval_for_one_thing_is_none_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both would go from 3 to 5: only the arguments tell them apart."""
    monkeypatch.setenv("STOPGAP_SECRET_KEY", "the key of the secrets in these tests")
    run = begun()
    run.a_process_carries_the_run_on(fuse=0, dies_after=False)
    run.somebody_answers(person="ada", answer=Answer.APPROVE, code="right", to="open", age=None)
    run.its_arguments_render_otherwise(thing="db")
    run.a_process_carries_the_run_on(fuse=0, dies_after=False)
    assert run.system.made == []
    assert run.asked()[-1].data["asks"]["differs"] == [{"what": "thing", "was": "web", "is": "db"}]


def test_a_no_stays_a_no_when_the_reason_for_asking_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPGAP_SECRET_KEY", "the key of the secrets in these tests")
    run = begun()
    run.a_process_carries_the_run_on(fuse=0, dies_after=False)
    run.somebody_answers(person="ada", answer=Answer.STOP, code="right", to="open", age=None)
    part = replace(run.part(), request=lambda *_: None)
    run.part = lambda: part  # type: ignore[method-assign]
    run.a_process_carries_the_run_on(fuse=0, dies_after=False)
    assert run.system.made == []
