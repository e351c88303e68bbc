"""The timeline's database does not answer once, and then does again: that says nothing about a step, so the run stops there and goes on from what is written."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_engine import carry_out, statuses
from stopgap.approvals.model import Answer
from stopgap.incidents.model import RunEnd
from stopgap.timeline.store import RunUnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fixtures_engine import Bench
    from stopgap.timeline.entry import Appended, Draft, Timeline

APPROVE = ("ada", Answer.APPROVE)
ANSWERS = dict.fromkeys(("scale", "scale__undo", "both", "one__undo", "two__undo"), APPROVE)
READS = frozenset({"find", "of_chain", "of_run"})
TAKEN_BACK = """\
steps:
  - id: scale
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 4}
    approval: {by: [incident-commander]}
    verify: {uses: kubernetes.wait, with: {deployment: checkout}}
  - {id: fail, uses: wait, with: {for: 1h}, timeout: 0.05s, on_failure: rollback}
"""
SIDE_BY_SIDE = """\
steps:
  - id: both
    approval: {by: [incident-commander]}
    parallel:
      - {id: one, uses: kubernetes.scale, with: {deployment: checkout, replicas: 4}}
      - {id: two, uses: kubernetes.scale, with: {deployment: checkout-stable, replicas: 4}}
  - id: fail
    for_each: [1h]
    uses: wait
    with: {for: "${{ item }}"}
    timeout: 0.05s
    on_failure: rollback
"""


@dataclass(slots=True)
class Away:
    """A timeline that does not answer at the n-th read or write. A write that is `lost` was not carried out, of another only the answer is missing."""

    timeline: Timeline
    at: int
    kind: str
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, draft: Draft) -> Appended:
        return self.append_all([draft])[0]

    def append_all(self, drafts: Sequence[Draft]) -> tuple[Appended, ...]:
        if self.kind == "lost writes":
            self._count()
        found = self.timeline.append_all(drafts)
        if self.kind == "writes":
            self._count()
        return found

    def _count(self) -> None:
        with self.lock:
            self.count += 1
            if self.count == self.at:
                raise RunUnreachableError

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.timeline, name)
        if self.kind != "reads" or name not in READS:
            return found

        def read(*arguments: Any) -> Any:
            self._count()
            return found(*arguments)

        return read


@pytest.mark.parametrize(("steps", "effects"), [(TAKEN_BACK, 2), (SIDE_BY_SIDE, 4)], ids=["taken back", "side by side"])
@pytest.mark.parametrize(("kind", "stride"), [("lost writes", 1), ("writes", 2), ("reads", 11)])
def test_no_step_ends_because_of_that(bench: Bench, steps: str, effects: int, kind: str, stride: int) -> None:
    unharmed = bench.work(steps)
    assert carry_out(unharmed, **ANSWERS) is RunEnd.FAILED
    expected = statuses(unharmed.run())
    for at in itertools.count(1, stride):
        work, before = bench.work(steps), len(bench.world.effects())
        away: Any = Away(work.timeline, at, kind)
        try:
            end = carry_out(replace(work, timeline=away), **ANSWERS)
        except RunUnreachableError:
            end = carry_out(work, **ANSWERS)
        assert (end, statuses(work.run())) == (RunEnd.FAILED, expected), f"away at {at}"
        assert len([each for each in bench.world.effects()[before:] if each["changed"]]) == effects, f"away at {at}"
        assert (bench.replicas(), bench.replicas("checkout-stable")) == (3, 3), f"away at {at}"
        if away.count < at:
            break
    assert at > 20, "the timeline was never away"
