"""The process dies at every point of a run; another goes on from the timeline. Nothing is lost and nothing is done twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_dying import Died, Dying
from fixtures_engine import carry_out, statuses, texts
from stopgap.actions.contract import Context, Probe
from stopgap.actions.kubernetes import scale
from stopgap.approvals.model import Answer
from stopgap.incidents.model import RunEnd
from stopgap.testing import ScriptedStage
from stopgap.timeline.leases import TakenOverError

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from stopgap.timeline.entry import Entry, Timeline

STEPS = """\
steps:
  - id: scale
    name: Add capacity
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 4}
    approval: {by: [incident-commander]}
  - {id: after, name: Say so, uses: note, with: {text: "scale was ${{ steps.scale.status }}"}}
"""


@dataclass(slots=True)
class Late:
    """A timeline read by a process that has not seen what another did meanwhile."""

    timeline: Timeline
    seen: tuple[Entry, ...]

    def of_run(self, run: str) -> tuple[Entry, ...]:
        assert run
        return self.seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self.timeline, name)


def test_of_two_processes_with_one_run_only_one_acts(bench: Bench) -> None:
    work = bench.work(STEPS.replace("    approval: {by: [incident-commander]}\n", ""))
    late: Any = Late(work.timeline, work.entries())
    assert carry_out(work) is RunEnd.DONE
    before = bench.world.effects()
    with pytest.raises(TakenOverError, match=r"and has begun attempt 1 of scale; this one stops\.$"):
        carry_out(replace(work, timeline=late))
    assert bench.world.effects() == before
    assert statuses(work.run()) == {"scale": "done", "after": "done"}


@pytest.mark.parametrize("durable", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 13))
def test_dying_at_any_entry_loses_nothing_and_repeats_nothing(bench: Bench, at: int, *, durable: bool) -> None:
    work = bench.work(STEPS)
    before = len(bench.world.effects())
    dying = Dying(work.timeline, at, durable)
    try:
        carry_out(replace(work, timeline=dying), scale=("ada", Answer.APPROVE))
    except Died:
        pass
    else:
        assert dying.count < at
    stage = ("ada", Answer.APPROVE)
    assert carry_out(work, scale=stage) is RunEnd.DONE
    assert statuses(work.run()) == {"scale": "done", "after": "done"}
    assert len(bench.world.effects()) - before == 1
    assert bench.replicas() == 4


@pytest.mark.parametrize("sent", [False, True], ids=["before the effect", "after the effect"])
def test_dying_inside_an_action_is_probed(bench: Bench, monkeypatch: pytest.MonkeyPatch, *, sent: bool) -> None:
    work = bench.work(STEPS)
    apply = scale.Scale.apply

    def dies(self: scale.Scale, context: Context, change: Any) -> Any:
        if sent:
            apply(self, context, change)
        raise Died

    monkeypatch.setattr(scale.Scale, "apply", dies)
    with pytest.raises(Died):
        carry_out(work, scale=("ada", Answer.APPROVE))
    monkeypatch.setattr(scale.Scale, "apply", apply)
    assert carry_out(work) is RunEnd.DONE
    assert bench.replicas() == 4
    assert texts(work, "step.applied" if sent else "step.retried")[0].startswith(
        "Add capacity: attempt 1 was in doubt; the system says it " + ("is done" if sent else "did not happen")
    )


def test_what_nobody_can_tell_is_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    work = bench.work(STEPS)

    def dies(*_: object) -> Any:
        raise Died

    def cannot_tell(*_: object) -> Probe:
        return Probe.UNKNOWN

    apply = scale.Scale.apply
    monkeypatch.setattr(scale.Scale, "apply", dies)
    monkeypatch.setattr(scale.Scale, "probe", cannot_tell)
    with pytest.raises(Died):
        carry_out(work, scale=("ada", Answer.APPROVE))
    monkeypatch.setattr(scale.Scale, "apply", apply)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert texts(work, "gate.asked")[-1] == "Add capacity: attempt 1 may or may not have happened, and the system cannot tell"
    assert carry_out(work, scale=("ada", Answer.AGAIN)) is RunEnd.DONE
    assert bench.replicas() == 4
