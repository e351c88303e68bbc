"""What `limits` of policy.yaml stop: places, sizes, pace and freezes; in a plan and right before a step acts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_engine import carry_out, statuses, texts
from stopgap.actions import registry
from stopgap.actions.contract import Change
from stopgap.incidents.model import RunEnd
from stopgap.plan import limits
from stopgap.policy import load
from stopgap.policy.model import Account, AccountName, Freeze, Limits, Policy
from stopgap.problems import ProblemsError
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures_engine import Bench

NOON = datetime(2026, 12, 24, 12, tzinfo=UTC)
HERE = {"cluster": "prod", "namespace": "shop"}
SCALE = ("kubernetes.scale", {**HERE, "deployment": "web", "replicas": 9})
CORDON = ("kubernetes.cordon", {"cluster": "prod", "node": "worker-3"})
ROUTE = ("kubernetes.shift_route", {**HERE, "httproute": "shop", "weights": {"a": 1}})
ECS = ("aws.ecs_scale", {"account": "main", "ecs_cluster": "c", "service": "s", "tasks": 2})
FREEZE = Freeze(begins=NOON - timedelta(hours=1), ends=NOON + timedelta(hours=1), reason="holidays", allowed=("kubernetes.restart",))


def stopped(given: Limits, step: tuple[str, dict[str, Any]], *, id_: str = "it", begun: int = 0, **change: Any) -> str:
    """Return why policy stops the step, empty when it does not."""
    accounts = {AccountName("main"): Account(name=AccountName("main"), id="123456789012", region="eu-west-1")}
    planned = Change(summary="", now={"x": 1}, after={"x": 2, **change.pop("after", {})}, **change)
    moment = limits.Moment(now=NOON, begun=lambda: begun)
    try:
        action = registry.build(*step)
        limits.check(Policy(limits=given, accounts=accounts), action, planned, step=id_, moment=moment)
    except limits.LimitError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("given", "step", "words"),
    [
        (Limits(namespaces=("other",)), SCALE, "would change namespace shop, but limits.namespaces in policy.yaml allows only other."),
        (Limits(clusters=("test",)), SCALE, "would change cluster prod, but limits.clusters in policy.yaml allows only test."),
        (Limits(nodes=("spot-*",)), CORDON, "would change node worker-3, but limits.nodes in policy.yaml allows only spot-*."),
        (Limits(namespaces=("shop",)), CORDON, "would change node worker-3, but limits.nodes in policy.yaml allows only none."),
        (Limits(accounts=()), ECS, "would change account main, but limits.accounts in policy.yaml allows only none."),
        (Limits(regions=("us-east-1",)), ECS, "would change region eu-west-1, but limits.regions in policy.yaml allows only us-east-1."),
    ],
)
def test_a_place_that_is_not_named_is_out_of_reach(given: Limits, step: tuple[str, dict[str, Any]], words: str) -> None:
    assert stopped(given, step) == f'Step "it" {words}'
    assert stopped(given, step, id_="it.undo") == f'Step "it.undo" {words}'
    assert stopped(Limits(), step) == ""


def test_places_that_are_named_are_within_reach() -> None:
    wide = Limits(namespaces=("shop",), clusters=("prod",), nodes=("worker-*",), accounts=("main",), regions=("eu-west-1",))
    assert [stopped(wide, step) for step in (SCALE, CORDON, ROUTE)] == ["", "", ""]


def test_more_replicas_and_a_larger_shift_than_allowed_are_stopped() -> None:
    small = Limits(max_replicas=5, max_shift=25)
    assert (
        stopped(small, SCALE, measures={"replicas": 6})
        == 'Step "it" would run 6 replicas, but limits.max_replicas in policy.yaml allows 5.'
    )
    assert stopped(small, SCALE, after={"replicas": 7}).startswith('Step "it" would run 7 replicas')
    assert stopped(small, ROUTE, measures={"shift": 25.5}) == (
        'Step "it" would move 25.5 % of the traffic at once, but limits.max_shift in policy.yaml allows 25 %. Take it in several steps.'
    )
    assert [stopped(small, ROUTE, measures={"shift": 25.0}), stopped(small, SCALE, measures={"replicas": 5})] == ["", ""]


def test_no_number_freeze_or_pace_keeps_anybody_from_going_back() -> None:
    strict = Limits(max_replicas=1, max_shift=1, steps_per_hour=1, freezes=(FREEZE,))
    assert stopped(strict, SCALE, id_="it.undo", begun=9, measures={"replicas": 6, "shift": 99}) == ""


def test_a_freeze_lasts_from_its_begin_to_its_end_and_names_what_is_allowed() -> None:
    assert stopped(Limits(freezes=(FREEZE,)), SCALE) == (
        'Step "it" would act in a freeze of policy.yaml that lasts until 2026-12-24T13:00:00.000000Z (holidays); '
        "kubernetes.scale is not under its `except`."
    )
    assert stopped(Limits(freezes=(FREEZE,)), ("kubernetes.restart", {**HERE, "deployment": "web"})) == ""
    assert stopped(Limits(freezes=(replace(FREEZE, ends=NOON),)), SCALE) == ""
    assert stopped(Limits(freezes=(replace(FREEZE, begins=NOON + timedelta(seconds=1)),)), SCALE) == ""


def test_what_would_change_nothing_is_stopped_by_no_number() -> None:
    action = registry.build(*SCALE)
    same = Change(summary="", now={"replicas": 9}, after={"replicas": 9})
    limits.check(Policy(limits=Limits(max_replicas=5)), action, same, step="it", moment=limits.Moment(now=NOON))


ONE = "steps:\n  - {{id: grow, uses: kubernetes.scale, with: {{deployment: {name}, replicas: 2}}}}\n"
STEPS = """\
steps:
  - {id: first, name: First, uses: kubernetes.scale, with: {deployment: checkout, replicas: 6}, on_failure: continue}
  - {id: second, name: Second, uses: kubernetes.scale, with: {deployment: checkout, replicas: 7}}
"""


def test_the_pace_counts_the_steps_of_all_runs(bench: Bench) -> None:
    bench.policy = replace(bench.policy, limits=Limits(steps_per_hour=2))
    assert carry_out(bench.work(STEPS)) is RunEnd.DONE
    work = bench.work(STEPS)
    assert carry_out(work) is RunEnd.DONE
    assert statuses(work.run()) == {"first": "failed", "second": "done"}, "the second found nothing to change"
    assert texts(work, "step.finished")[0] == (
        'First: Step "first" would be one too many: 2 changing steps began within the last hour, and limits.steps_per_hour in policy.yaml allows 2.'
    )
    assert bench.replicas() == 7


def test_of_members_that_begin_together_no_more_begin_than_the_pace_allows(bench: Bench) -> None:
    names = [f"shop-{number}" for number in range(6)]
    for name in names:
        bench.deploy(name)
    members = "".join(
        f"      - {{id: {name.replace('-', '_')}, uses: kubernetes.scale, with: {{deployment: {name}, replicas: 2}}}}\n" for name in names
    )
    bench.policy = replace(bench.policy, limits=Limits(steps_per_hour=2))
    work = bench.work("steps:\n  - id: all\n    parallel:\n" + members)
    assert carry_out(work) is RunEnd.FAILED
    assert sorted(bench.replicas(name) for name in names) == [1, 1, 1, 1, 2, 2]


def test_of_runs_that_begin_together_no_more_begin_than_the_pace_allows(bench: Bench) -> None:
    names = [f"shop-{number}" for number in range(4)]
    bench.policy = replace(bench.policy, limits=Limits(steps_per_hour=1))
    for name in names:
        bench.deploy(name)
    works = [bench.work(ONE.format(name=name)) for name in names]
    with ThreadPoolExecutor(len(works)) as pool, ExitStack() as stack:
        apart = [replace(work, timeline=stack.enter_context(opening.timeline())) for work in works]
        ends = list(pool.map(carry_out, apart))
    assert sorted(map(str, ends)) == ["done", "failed", "failed", "failed"]
    assert sorted(bench.replicas(name) for name in names) == [1, 1, 1, 2]


def test_a_limit_that_came_while_a_gate_was_open_holds_right_before_the_step_acts(bench: Bench) -> None:
    gated = (
        STEPS.splitlines()[0]
        + "\n  - {id: one, name: One, uses: kubernetes.scale, with: {deployment: checkout, replicas: 9}, approval: {by: [incident-commander]}}\n"
    )
    work = bench.work(gated)
    strict = replace(bench.policy, limits=Limits(max_replicas=5), path=None)

    def decide(_gate: Any) -> tuple[str, Any]:
        object.__setattr__(work, "policy", strict)  # as a worker that reads policy.yaml again
        return "ada", "approve"

    before = bench.replicas()
    assert carry_out(work, one=decide) is RunEnd.FAILED
    assert texts(work, "step.finished") == ['One: Step "one" would run 9 replicas, but limits.max_replicas in policy.yaml allows 5.']
    assert bench.replicas() == before


def test_freezes_are_read_and_impossible_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    text = "apiVersion: stopgap/v1\nkind: Policy\npeople: {ada: {name: Ada}}\nroles: {incident-commander: {holders: [ada]}}\nlimits:\n  freezes:\n"
    path.write_text(
        text + "    - {from: 2026-12-20T00:00:00Z, until: 2027-01-02T08:00:00+01:00, reason: holidays, except: [kubernetes.scale]}\n"
    )
    (freeze,) = load.load(path).limits.freezes
    assert (freeze.ends, freeze.allowed) == (datetime(2027, 1, 2, 7, tzinfo=UTC), ("kubernetes.scale",))
    path.write_text(
        text
        + "    - {from: 2026-12-40T00:00:00Z, until: 2026-12-20T00:00:00Z, reason: x}\n    - {from: 2026-12-20T00:00:00Z, until: 2026-12-19T00:00:00Z, reason: x}\n"
    )
    with pytest.raises(ProblemsError) as caught:
        load.load(path)
    assert [problem.sentence for problem in caught.value.problems] == [
        '"2026-12-40T00:00:00Z" is no moment that there is',
        "the freeze ends before it begins",
    ]
