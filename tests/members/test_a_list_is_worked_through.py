"""`for_each`: one step for each entry of a list, so many at a time, until one fails."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_engine import carry_out, statuses, texts
from stopgap.actions.contract import Context, PermanentError
from stopgap.actions.kubernetes import scale
from stopgap.approvals.model import Answer
from stopgap.engine import journal
from stopgap.incidents.model import Mode, RunEnd
from stopgap.testing import ScriptedStage

if TYPE_CHECKING:
    from fixtures_engine import Bench

APPROVE = ("ada", Answer.APPROVE)
NAMES = ("a", "b", "c", "d")
EACH = """\
parameters: {names: {type: array, default: [a, b, c, d]}}
steps:
  - id: grow
    name: Grow
    uses: kubernetes.scale
    for_each: "${{ params.names }}"
    max_in_flight: 2
    with: {deployment: "${{ item }}", replicas: 2}
"""
AFTER = """\
  - id: after
    uses: note
    with: {text: "${{ steps.grow.items.filter(one, one.status != 'done').map(one, one.item) == ['b'] ? 'only b' : 'others' }}"}
"""


@pytest.fixture
def shops(bench: Bench) -> Bench:
    """Four more Deployments, with one replica each."""
    for name in NAMES:
        bench.deploy(name)
    return bench


class Counting:
    """How many are inside `apply` at once, and which began; one fails."""

    def __init__(self, patch: pytest.MonkeyPatch, *, fails: str = "") -> None:
        self.inside, self.most, self.begun = 0, 0, list[str]()
        lock, apply = threading.Lock(), scale.Scale.apply

        def counted(action: scale.Scale, context: Context, change: Any) -> Any:
            with lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
                self.begun.append(action.deployment)
            try:
                if action.deployment == fails:
                    raise PermanentError(f"{fails} cannot be scaled")
                return apply(action, context, change)
            finally:
                with lock:
                    self.inside -= 1

        patch.setattr(scale.Scale, "apply", counted)


def test_entries_are_worked_on_so_many_at_a_time(shops: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(monkeypatch)
    work = shops.work(EACH)
    assert carry_out(work) is RunEnd.DONE
    assert statuses(work.run()) == {"grow": "done", **{f"grow[{number}]": "done" for number in range(4)}}
    assert [shops.replicas(name) for name in NAMES] == [2, 2, 2, 2]
    assert counting.most <= 2
    assert texts(work, "step.listed") == ["Grow: 4 entries"]
    assert "Grow (c): c: 1 -> 2 replicas" in texts(work, "step.started")


def test_it_stops_at_the_first_failure(shops: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(monkeypatch, fails="b")
    work = shops.work(EACH.replace("max_in_flight: 2", "on_failure: continue") + AFTER)
    assert carry_out(work) is RunEnd.DONE
    assert list(dict.fromkeys(counting.begun)) == ["a", "b"]  # a conflict is tried again
    found = {"grow": "failed", "grow[0]": "done", "grow[1]": "failed", "grow[2]": "skipped", "grow[3]": "skipped", "after": "done"}
    assert statuses(work.run()) == found
    assert texts(work, "step.finished")[2:] == [
        "Grow (c): never started",
        "Grow (d): never started",
        "Grow: 1 of 4 done; Grow (b): b cannot be scaled",
        "After: others",
    ]


def test_all_entries_are_asked_about_at_once_and_undone_in_reverse(shops: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    Counting(monkeypatch, fails="c")
    asking = "    approval: {by: [incident-commander]}\n    on_failure: rollback\n"
    work = shops.work(EACH.replace("max_in_flight: 2", "max_in_flight: 1") + asking)
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert texts(work, "gate.asked") == [
        "Grow: may this be done? 4 changes: a: 1 -> 2 replicas; b: 1 -> 2 replicas; c: 1 -> 2 replicas; d: 1 -> 2 replicas"
    ]
    assert carry_out(work, **{"grow": APPROVE, "grow[0].undo": APPROVE, "grow[1].undo": APPROVE}) is RunEnd.FAILED
    assert texts(work, "step.undone") == ["Grow (b): undone", "Grow (a): undone"]
    assert [shops.replicas(name) for name in NAMES] == [1, 1, 1, 1]
    assert texts(work, "run.finished")[0].endswith("Taken back: grow[0], grow[1]. Not done: grow[2], grow[3].")


def test_what_moves_later_on_is_asked_about_anew_with_all_that_is_left(shops: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = scale.Scale.apply

    def meddles(self: scale.Scale, context: Context, change: Any) -> Any:
        if self.deployment == "a":
            shops.meddle(7, "c")
        return apply(self, context, change)

    monkeypatch.setattr(scale.Scale, "apply", meddles)
    work = shops.work(EACH.replace("max_in_flight: 2", "max_in_flight: 1") + "    approval: {by: [incident-commander]}\n")
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work, grow=APPROVE)
    assert [shops.replicas(name) for name in NAMES] == [2, 2, 7, 1]
    assert texts(work, "gate.asked")[1] == "Grow: may this be done? 2 changes: c: 7 -> 2 replicas; d: 1 -> 2 replicas"
    assert carry_out(work, grow=APPROVE) is RunEnd.DONE
    assert [shops.replicas(name) for name in NAMES] == [2, 2, 2, 2]


def test_ending_the_run_lets_what_is_in_flight_end_and_starts_nothing_more(shops: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = scale.Scale.apply
    work = shops.work(EACH + AFTER)

    def ends(self: scale.Scale, context: Context, change: Any) -> Any:
        journal.abort_asked(work.timeline, work.run(), actor="dana", why="enough")
        return apply(self, context, change)

    monkeypatch.setattr(scale.Scale, "apply", ends)
    assert carry_out(work) is RunEnd.ABORTED
    found = statuses(work.run())
    assert {found["grow[0]"], found.get("grow[1]", "done")} == {"done"}
    assert found.keys() <= {"grow", "grow[0]", "grow[1]"}
    assert shops.replicas("d") == 1


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('"${{ params.names + [params.names[0]] }}"', 'The for_each of step "grow" gives a twice: as entry 0 and as entry 4.'),
        ('"${{ params.names[0] }}"', 'The for_each of step "grow" gives a, which is no list.'),
        (
            '"${{ params.many }}"',
            (
                'The for_each of step "grow" gives 101 entries, and 100 are the most.\n'
                "Whoever approves them reads each. Narrow the list down, or start the runbook several times."
            ),
        ),
    ],
)
def test_a_list_that_cannot_be_worked_through_starts_nothing(bench: Bench, written: str, says: str) -> None:
    many = f"parameters: {{many: {{type: array, default: {list(range(101))}}}, names:"
    work = bench.work(EACH.replace("parameters: {names:", many).replace('"${{ params.names }}"', written))
    assert carry_out(work) is RunEnd.FAILED
    assert texts(work, "step.finished") == [f"Grow: {says}"]


def test_an_empty_list_is_skipped(bench: Bench) -> None:
    work = bench.work(EACH + '  - {id: after, uses: note, with: {text: "${{ size(steps.grow.items) }} of them"}}\n', names=[])
    assert carry_out(work) is RunEnd.DONE
    assert texts(work, "step.finished") == ["Grow: skipped, because its list is empty", "After: 0 of them"]


def test_a_list_never_shows_a_secret(bench: Bench) -> None:
    head = EACH.replace("parameters: {names: {type: array, default: [a, b, c, d]}}", "parameters: {names: {type: array, secret: true}}")
    work = bench.work(head, names=["hunter2hunter2"])
    assert carry_out(work) is RunEnd.FAILED
    assert texts(work, "step.finished") == [
        (
            'Grow: The for_each of step "grow" gives the value of a secret parameter, and a list is written on the timeline.\n'
            "Use the secret in the step's with instead."
        )
    ]
    assert "hunter2" not in "".join(str(entry) for entry in work.entries())


def test_a_dry_run_says_that_a_list_is_not_known_yet(shops: Bench) -> None:
    steps = EACH.replace("params.names", "steps.first.status == 'done' ? params.names : []").replace(
        "steps:\n", "steps:\n  - {id: first, uses: kubernetes.scale, with: {deployment: checkout, replicas: 4}}\n"
    )
    work = shops.work(steps, mode=Mode.DRY)
    assert carry_out(work) is RunEnd.DONE
    assert texts(work, "step.finished")[1] == "Grow: not planned, because its list depends on how first ends"
