"""The checks that every action must pass, as one pytest class. Subclass it, and say on what the action is tried:

    class TestPurge(ActionContract):
        @pytest.fixture
        def scene(self, queue):
            return Scene(action=Purge(queue="mail"), policy=Policy(), look=queue.messages, meddle=queue.fill, never={...})

The system should be a real one, or a server that behaves like it. pytest is needed; `stopgap.testing` itself does without.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest

from stopgap.actions.checks import faults_of
from stopgap.actions.contract import Change, ConflictError, Context, InDoubtError, Outcome, PermanentError, Probe, TemporaryError
from stopgap.actions.guard import DryRunViolation
from stopgap.clock import SystemClock
from stopgap.problems import LeaveRunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stopgap.actions.contract import Action
    from stopgap.policy.model import Policy

TRIES = 5  # as often as the engine plans again after a conflict
OURS, OTHERS, STRANGERS = "INC-1.1/step/1", "INC-1.1/step/2", "INC-2.1/step/1"


def _nothing_heard() -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An action and the system on which it is tried. A fresh one is made for every test.

    `look` returns what the action may change, as a value that can be compared, without what moves by itself. `heard` returns the requests that
    reached the system and may have changed something; leave it out where they cannot be recorded. `stall` makes an effect begin and not end
    from now on. `meddle` is somebody else changing what the action works on. `never` names, with the reason, the answers that the probe
    cannot give. `adds` says why applying twice acts twice (a message is sent again); leave it empty where it changes once. `has_marks` is
    false where the system cannot carry our mark; `goes_on` is true where a new attempt goes on from what an earlier one of the same step
    left, and so knows its mark. `seconds` is how long one apply may take, `stalled_seconds` after which one that `stall` holds up is given up.
    """

    action: Action
    policy: Policy
    look: Callable[[], Any]
    heard: Callable[[], Sequence[str]] = _nothing_heard
    stall: Callable[[], None] | None = None
    meddle: Callable[[], None] | None = None
    never: Mapping[Probe, str] = field(default_factory=dict)
    adds: str = ""
    has_marks: bool = True
    goes_on: bool = False
    seconds: float = 30
    stalled_seconds: float = 1

    def context(self, *, mark: str = OURS, mode: Literal["live", "dry"] = "live", seconds: float | None = None) -> Context:
        """Return a context by the machine's clock."""
        clock = SystemClock()
        within = timedelta(seconds=self.seconds if seconds is None else seconds)
        return Context(policy=self.policy, clock=clock, deadline=clock.now() + within, mark=mark, mode=mode)

    @property
    def changes(self) -> bool:
        """The action changes something."""
        return self.action.effect == "changes"

    def carry_out(self, action: Action | None = None, *, mark: str = OURS) -> tuple[Change, Outcome]:
        """Plan and apply as the engine does: after a conflict it plans again."""
        step = action or self.action
        for _ in range(TRIES):
            context = self.context(mark=mark)
            change = step.plan(context)
            with suppress(ConflictError):
                return change, step.apply(context, change)
        raise AssertionError(f"{step.name}: {TRIES} conflicts in a row")


class ActionContract:
    """What holds for every action. A subclass named Test... gives the fixture `scene`."""

    @pytest.fixture
    def scene(self) -> Scene:
        """Return the scene; a subclass says which."""
        raise AssertionError(f"{type(self).__name__} must have a fixture `scene` that returns a stopgap.testing.actions.Scene")

    def test_planning_changes_nothing(self, scene: Scene) -> None:
        """A plan only reads; made twice, under any mark, it is the same question to the human. The probe finds nothing of ours yet."""
        _equal(faults_of(type(scene.action), scene.action.name), (), "what is wrong with the class")
        targets, before = scene.action.targets(), scene.look()
        first, second = (scene.action.plan(scene.context(mark=mark)) for mark in (OURS, OTHERS))
        _equal(second.digest, first.digest, "the digest of the second plan")
        _equal(Change.from_json(json.loads(json.dumps(first.to_json()))), first, "the change read back from the timeline")
        _equal(first.is_empty, not scene.changes, "whether nothing would change in this scene")
        _equal(sorted(first.now), sorted(first.after), "the keys of `now`, which people see beside those of `after`,")
        _equal(scene.action.probe(scene.context(), first), _or_unknown(scene, Probe.NOT_DONE), "the probe before anything was sent")
        _untouched(scene, before, "planning")
        _equal(scene.action.targets(), targets, "the targets asked for again")
        _equal([name for name in targets if "/" not in name], [], "the targets that do not say where they are")

    def test_a_dry_run_sends_nothing(self, scene: Scene) -> None:
        """A plan in dry mode reads; an apply in dry mode is refused before anything leaves; so is a live one that begins too late."""
        before, context = scene.look(), scene.context(mode="dry")
        change = scene.action.plan(context)
        _untouched(scene, before, "planning a dry run")
        if scene.changes:
            with pytest.raises(DryRunViolation):
                scene.action.apply(context, change)
            _untouched(scene, before, "applying in a dry run")
            with pytest.raises((TemporaryError, PermanentError)):
                scene.action.apply(scene.context(seconds=-1), change)
            _untouched(scene, before, "applying after the deadline")

    def test_nothing_is_sent_for_a_run_that_is_not_ours_any_more(self, scene: Scene) -> None:
        """Where the context permits nothing more to be sent, nothing is, and its reason passes as it is: it is no end of the step."""

        def forbid(_wanted: float) -> float:
            raise LeaveRunError("Another process carries the run out.")

        if not scene.changes:
            pytest.skip("it only reads, and may do so always")
        before, context = scene.look(), scene.context()
        change = scene.action.plan(context)
        with pytest.raises(LeaveRunError, match=r"^Another process carries the run out\.$"):
            scene.action.apply(replace(context, permit=forbid), change)
        _untouched(scene, before, "applying for a run that is another's")

    def test_applying_twice_changes_once_and_undoing_restores(self, scene: Scene) -> None:
        """What was done is found under our mark and no other; the same change again changes nothing; the undo brings back what was."""
        before = scene.look()
        change, outcome = scene.carry_out()
        done = scene.look()
        _equal(outcome.changed, scene.changes, "whether the outcome says that something changed")
        _equal(done != before, scene.changes, "whether something changed")
        _equal(set(outcome.data) - set(scene.action.outputs), set(), "the outputs that it does not declare")
        _equal(json.loads(json.dumps(dict(outcome.data))), dict(outcome.data), "the outputs read back from the timeline")
        if scene.changes:
            _probe_after(scene, change)
            if not scene.adds:
                with suppress(ConflictError):
                    scene.action.apply(scene.context(), change)
                _equal(scene.look(), done, "what is there after the same change was applied again")
        undo = scene.action.undo(change)
        _equal(undo is not None, scene.action.undoes != "no", "whether there is an undo")
        if undo is not None:
            scene.carry_out(undo, mark="INC-1.1/step.undo/1")
            _equal(scene.look(), before, "what is there after the undo")

    def test_the_probe_says_in_progress_while_the_effect_is_on_its_way(self, scene: Scene) -> None:
        """A deadline that passes leaves the step in doubt, and the probe knows more."""
        stall = _needed(scene, Probe.IN_PROGRESS, scene.stall)
        stall()
        change = _left_in_doubt(scene)
        _equal(scene.action.probe(scene.context(), change), Probe.IN_PROGRESS, "the probe while it is on its way")

    def test_what_somebody_else_changed_is_found_and_not_overwritten(self, scene: Scene) -> None:
        """Changed before we write: a conflict, and nothing is written, where the system takes a precondition. Changed after: unknown."""
        meddle = _needed(scene, Probe.UNKNOWN, scene.meddle)
        stale = scene.action.plan(scene.context())
        change, _ = scene.carry_out()
        meddle()
        _equal(scene.action.probe(scene.context(), change), Probe.UNKNOWN, "the probe after somebody else changed it")
        if stale.precondition:
            before = scene.look()
            with pytest.raises(ConflictError):
                scene.action.apply(scene.context(mark=OTHERS), stale)
            _equal(scene.look(), before, "what is there after a stale change")


def _untouched(scene: Scene, before: Any, after: str) -> None:
    _equal(scene.look(), before, f"what is there after {after}")
    _equal(list(scene.heard()), [], f"what the system heard while {after}")


def _probe_after(scene: Scene, change: Change) -> None:
    _equal(scene.action.probe(scene.context(), change), _or_unknown(scene, Probe.DONE), "the probe after it was done")
    if scene.has_marks:
        again = Probe.DONE if scene.goes_on else Probe.NOT_DONE
        _equal(scene.action.probe(scene.context(mark=OTHERS), change), again, "the probe under another attempt's mark")
        _equal(scene.action.probe(scene.context(mark=STRANGERS), change), Probe.NOT_DONE, "the probe under another run's mark")


def _left_in_doubt(scene: Scene) -> Change:
    for _ in range(TRIES):
        change = scene.action.plan(scene.context())
        try:
            scene.action.apply(scene.context(seconds=scene.stalled_seconds), change)
        except ConflictError:
            continue
        except InDoubtError:
            return change
        pytest.fail("apply returned, although the scene stalls its effect")
    pytest.fail(f"{TRIES} conflicts in a row")


def _or_unknown(scene: Scene, answer: Probe) -> Probe:
    return Probe.UNKNOWN if answer in scene.never else answer


def _needed(scene: Scene, answer: Probe, means: Callable[[], None] | None) -> Callable[[], None]:
    """Return what brings the answer about; skip where the scene gives a reason why it never comes, fail where it gives none."""
    if not scene.changes:
        pytest.skip("it only reads, and may always be asked again")
    if means is not None:
        return means
    if answer not in scene.never:
        pytest.fail(f"{scene.action.name}: nothing shows when its probe says {answer}; give the scene the means, or the reason in `never`")
    pytest.skip(scene.never[answer])


def _equal(found: Any, wanted: Any, what: str) -> None:
    if found != wanted:
        pytest.fail(f"{what}: {found!r}; {wanted!r} was expected")
