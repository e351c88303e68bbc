"""Runs on the sandbox and the real timeline that want what another run holds."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_engine import carry_out, statuses, texts
from stopgap.approvals.model import Answer
from stopgap.cli.main import run as stopgap
from stopgap.engine import run as runs
from stopgap.incidents.model import Mode, RunEnd
from stopgap.policy.model import LockRules
from stopgap.testing import ManualClock, ScriptedStage
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures_engine import Bench
    from stopgap.engine.stage import Part
    from stopgap.engine.work import Work

TARGET = "kubernetes/sandbox/shop/deployment/checkout"
ASKING = """\
steps:
  - id: scale
    name: Add capacity
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: REPLICAS}
    approval: {by: [incident-commander]}
"""
FIRST, SECOND = ASKING.replace("REPLICAS", "5"), ASKING.replace("REPLICAS", "7")
APPROVE = ("ada", Answer.APPROVE)


class Meanwhile(ScriptedStage):
    """A stage on which something happens while the run waits for a lock."""

    def __init__(self, work: Work, happens: Callable[[], Any], **answers: Any) -> None:
        super().__init__(work, answers)
        self.happens = happens
        self.rests: list[str] = []

    async def rest(self, pause: timedelta, *, why: str, state: str = "") -> None:
        self.rests.append(why)
        await asyncio.to_thread(self.happens)
        self.work.clock.sleep(pause.total_seconds())


def waiting(bench: Bench, steps: str = FIRST) -> Work:
    """A run that stands at its gate and holds its targets."""
    work = bench.work(steps)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    return work


def without_time(text: str) -> str:
    return re.sub(r"since \S+ UTC", "since TIME UTC", text)


def impatient(work: Work, seconds: float = 0) -> Work:
    return replace(work, policy=replace(work.policy, locks=LockRules(wait=timedelta(seconds=seconds))))


def blocks(work: Work) -> list[str]:
    return [without_time(text) for text in texts(work, "lock.blocked")]


def test_a_run_holds_its_targets_while_it_stands_at_its_gate(bench: Bench) -> None:
    work = waiting(bench)
    assert texts(work, "lock.taken") == [f"Locked {TARGET}"]
    assert [(lock.target, lock.run, lock.is_held) for lock in bench.timeline.locks.of_all()] == [(TARGET, work.id, True)]
    assert carry_out(work, scale=APPROVE) is RunEnd.DONE
    assert texts(work, "lock.released") == [f"Gave back {TARGET}"]
    assert bench.timeline.locks.of_all() == ()


def test_a_second_run_says_whom_it_waits_for_and_goes_on_when_that_run_ends(bench: Bench) -> None:
    first, second = waiting(bench), bench.work(SECOND)
    stage = Meanwhile(second, lambda: carry_out(first, scale=APPROVE), scale=APPROVE)
    assert asyncio.run(runs.carry_out(second, stage)) is RunEnd.DONE
    assert blocks(second) == [f"Waits at most 10m: {first.id} (test-runbook) holds {TARGET} since TIME UTC"]
    assert len(stage.rests) == 1
    assert bench.replicas() == 7
    assert first.run().end is RunEnd.DONE


def test_a_second_run_fails_when_the_wait_is_over(bench: Bench) -> None:
    first, second = waiting(bench), bench.work(SECOND)
    clock = ManualClock(second.clock.now())
    second = replace(impatient(second, 90), clock=clock)
    stage = Meanwhile(second, lambda: None)
    assert asyncio.run(runs.carry_out(second, stage)) is RunEnd.FAILED
    assert 89 <= clock.monotonic() <= 91
    assert [without_time(text) for text in texts(second, "note")] == [
        (
            f"{second.id} needs {TARGET}, but {first.id} (test-runbook) holds {TARGET} since TIME UTC, and did not give it back within 1m30s.\n"
            f"See what it does:  stopgap timeline follow {first.run().incident}\n"
            f"If nothing works on it any more:  stopgap locks break {TARGET} --reason ..."
        )
    ]
    assert texts(second, "run.finished") == ["A test: failed. Done: nothing. Not done: scale."]
    assert [lock.run for lock in bench.timeline.locks.of_all()] == [first.id]
    assert bench.replicas() == 3


def test_with_no_wait_it_fails_at_once(bench: Bench) -> None:
    waiting(bench)
    second = impatient(bench.work(SECOND))
    assert carry_out(second) is RunEnd.FAILED
    assert len(blocks(second)) == 1


def test_a_process_that_takes_over_waits_no_longer_than_the_first_would_have(bench: Bench) -> None:
    waiting(bench)
    second = impatient(bench.work(SECOND), 60)

    class DiedError(Exception):
        pass

    def dies() -> None:
        raise DiedError

    with pytest.raises(DiedError):
        asyncio.run(runs.carry_out(second, Meanwhile(second, dies)))
    later = ManualClock(second.clock.now() + timedelta(seconds=61))
    assert carry_out(replace(second, clock=later)) is RunEnd.FAILED
    assert later.monotonic() == 0
    assert len(blocks(second)) == 1


def test_an_abort_ends_the_wait(bench: Bench) -> None:
    first, second = waiting(bench), bench.work(SECOND)

    def abort() -> None:
        run = second.run()
        draft = Draft(chain=run.incident, incident=run.incident, run=run.id, kind="run.abort_asked", actor="dana", text="enough")
        bench.timeline.append(draft)

    assert asyncio.run(runs.carry_out(second, Meanwhile(second, abort))) is RunEnd.ABORTED
    assert [lock.run for lock in bench.timeline.locks.of_all()] == [first.id]


LATE = """\
steps:
  - {id: first, name: Scale one, uses: kubernetes.scale, with: {deployment: ONE, replicas: 4}}
  - {id: say, name: Say so, uses: note, with: {text: One is scaled.}}
  - id: second
    name: Scale the other
    uses: kubernetes.scale
    with: {deployment: "${{ steps.say.status == 'done' ? 'OTHER' : '' }}", replicas: 5}
"""


class Together(ScriptedStage):
    """A stage on which two runs wait for each other after their first step."""

    def __init__(self, work: Work, barrier: threading.Barrier) -> None:
        super().__init__(work)
        self.barrier = barrier

    async def show(self, part: Part, body: Callable[[], None]) -> None:
        if part.step.id == "say":
            await asyncio.to_thread(self.barrier.wait)
        await super().show(part, body)


def test_two_runs_that_want_the_same_two_targets_in_opposite_order_both_end(bench: Bench) -> None:
    """Each knows its second target only after its first step, so neither can take both at its start."""
    one = bench.work(LATE.replace("ONE", "checkout").replace("OTHER", "checkout-stable"))
    other = bench.work(LATE.replace("ONE", "checkout-stable").replace("OTHER", "checkout"))
    barrier = threading.Barrier(2, timeout=30)
    ends: dict[str, RunEnd] = {}

    def carry(work: Work) -> None:
        ends[work.id] = asyncio.run(runs.carry_out(work, Together(work, barrier)))

    threads = [threading.Thread(target=carry, args=(work,), daemon=True) for work in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ends.values()) == [RunEnd.DONE, RunEnd.FAILED]
    loser = one if ends[one.id] is RunEnd.FAILED else other
    assert statuses(loser.run()) == {"first": "done", "say": "done", "second": "failed"}
    assert (
        texts(loser, "step.finished")[-1]
        .split("\n")[0]
        .endswith(f"while it waits for what {loser.id} holds; who began to wait last gives way.")
    )
    assert bench.timeline.locks.of_all() == ()


def test_an_expired_gate_gives_its_target_back_though_the_run_goes_on(bench: Bench) -> None:
    steps = FIRST.replace("[incident-commander]}", "[incident-commander], expires: 1m}\n    on_failure: continue")
    work = waiting(bench, steps + "  - {id: wait, name: Ask, uses: manual, with: {instructions: Look.}}\n")
    later = replace(work, clock=ManualClock(work.clock.now() + timedelta(minutes=2)))
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(later)
    assert statuses(work.run()) == {"scale": "expired"}
    assert texts(work, "lock.released") == [f"Gave back {TARGET}"]
    assert bench.timeline.locks.of_all() == ()


@pytest.mark.parametrize("mode", [Mode.DRY, Mode.DRILL])
def test_dry_runs_and_drills_take_no_lock_and_say_who_holds_it(bench: Bench, mode: Mode) -> None:
    first = waiting(bench)
    second = bench.work(SECOND, mode=mode, given={"scale": "done"})
    assert carry_out(second, scale=APPROVE) is RunEnd.DONE
    assert [without_time(text) for text in texts(second, "note")] == [
        f"A live run would wait now: {first.id} (test-runbook) holds {TARGET} since TIME UTC."
    ]
    assert [lock.run for lock in bench.timeline.locks.of_all()] == [first.id]


def test_the_verb_lists_holders_and_those_who_wait(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert stopgap(["locks"]) == 0
    assert capsys.readouterr().out == "No run holds a target.\n"
    first, second = waiting(bench), bench.work(SECOND)
    bench.timeline.locks.take(second.id, {TARGET})
    assert stopgap(["locks"]) == 0
    lines = [line.rpartition("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == [f"{TARGET}\theld by\t{first.id}\ttest-runbook", f"{TARGET}\twaits\t{second.id}\ttest-runbook"]
    assert stopgap(["locks", "--json"]) == 0
    assert f'"run": "{first.id}"' in capsys.readouterr().out


def test_a_broken_lock_is_on_the_holders_timeline_and_the_holder_waits_before_it_touches_the_target_again(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = waiting(bench), bench.work(SECOND)
    assert stopgap(["locks", "break", TARGET, "--reason", "its worker burnt down", "--as", "ben"]) == 0
    assert capsys.readouterr().out == f"ben took {TARGET} away from {first.id}: its worker burnt down\n"
    assert texts(first, "lock.broken") == [f"ben took {TARGET} away from {first.id}: its worker burnt down"]
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(second)
    stage = Meanwhile(first, lambda: carry_out(second, scale=APPROVE), scale=APPROVE)
    with pytest.raises(ScriptedStage.StillWaiting):  # the approval was for 3 -> 5, and it is 7 now: asked anew
        asyncio.run(runs.carry_out(first, stage))
    assert carry_out(first, scale=APPROVE) is RunEnd.DONE
    assert blocks(first) == [f"Waits at most 10m: {second.id} (test-runbook) holds {TARGET} since TIME UTC"]
    assert texts(first, "lock.taken") == [f"Locked {TARGET}", f"Locked {TARGET}"]
    assert bench.replicas() == 5


def test_breaking_what_nobody_holds_says_what_is_held(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    waiting(bench)
    assert stopgap(["locks", "break", TARGET[:-1], "--reason", "lost"]) == 2
    assert capsys.readouterr().err == f'No run holds "{TARGET[:-1]}". Did you mean "{TARGET}"?\n'
