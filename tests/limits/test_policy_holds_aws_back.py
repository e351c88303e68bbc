"""The limits of policy.yaml on AWS, on a moto server: in a plan, and again right before the change would be sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_aws import PROD
from fixtures_aws_things import balancer, group
from fixtures_engine import HEAD, carry_out, texts
from stopgap.clock import SystemClock
from stopgap.incidents.model import RunEnd
from stopgap.plan import build
from stopgap.policy.model import Limits

if TYPE_CHECKING:
    from fixtures_aws import Cloud
    from fixtures_engine import Bench

GROW = "steps:\n  - {id: grow, name: Grow, uses: aws.asg_scale, with: {account: prod, group: web, instances: 4}, approval: {by: [incident-commander]}}\n"
SHIFT = "steps:\n  - {{id: shift, name: Shift, uses: aws.alb_shift, with: {{account: prod, listener: '{listener}', weights: {{blue: 10, green: 90}}}}}}\n"


@pytest.fixture
def shop(bench: Bench, cloud: Cloud) -> Bench:
    bench.policy = replace(bench.policy, accounts=cloud.policy().accounts)
    group(cloud)
    return bench


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_replicas": 3}, "would run 4 replicas, but limits.max_replicas in policy.yaml allows 3."),
        ({"accounts": ("test",)}, "would change account prod, but limits.accounts in policy.yaml allows only test."),
        ({"regions": ("us-east-1",)}, "would change region eu-west-1, but limits.regions in policy.yaml allows only us-east-1."),
    ],
)
def test_a_group_grows_only_as_far_and_where_policy_allows(shop: Bench, cloud: Cloud, given: dict[str, Any], words: str) -> None:
    strict = replace(shop.policy, limits=Limits(**given))
    work = shop.work(GROW, head=HEAD)
    planned = build.plan(work.runbook, {}, policy=strict, clock=SystemClock())
    assert planned.steps[0].refused == f'Step "grow" {words}'

    def decide(_gate: Any) -> tuple[str, Any]:
        object.__setattr__(work, "policy", strict)  # the limit came while the gate was open
        return "ada", "approve"

    assert carry_out(work, grow=decide) is RunEnd.FAILED
    assert texts(work, "step.finished") == [f'Grow: Step "grow" {words}']
    assert cloud.changes() == []


def test_traffic_moves_only_so_far_in_one_step(shop: Bench, cloud: Cloud) -> None:
    _, listener, _ = balancer(cloud)
    shop.policy = replace(shop.policy, limits=Limits(max_shift=25))
    work = shop.work(SHIFT.format(listener=listener), head=HEAD)
    assert PROD in shop.policy.accounts
    assert carry_out(work) is RunEnd.FAILED
    assert texts(work, "step.finished") == [
        'Shift: Step "shift" would move 90 % of the traffic at once, but limits.max_shift in policy.yaml allows 25 %. Take it in several steps.'
    ]
    assert cloud.changes() == []
