"""A crash loop or an HPA touches the object again and again: an approval still holds, on the sandbox and on a real control plane."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import pytest

from fixtures_cluster import TEST
from fixtures_engine import HEAD, carry_out, texts
from stopgap.approvals.model import Answer
from stopgap.incidents.model import RunEnd
from stopgap.policy.model import Limits
from stopgap.testing import ScriptedStage

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures_cluster import Place
    from fixtures_engine import Bench
    from stopgap.approvals.model import Gate
    from stopgap.engine.work import Work

EVERY = 0.2  # seconds; five times as often as a busy HPA
ASKING = """\
steps:
  - id: scale
    name: Add capacity
    uses: kubernetes.scale
    with: {deployment: web, replicas: 4}
    approval: {by: [incident-commander]}
"""


class Restless:
    """Somebody who writes to the cluster all the time, until told to stop or `enough` says so."""

    def __init__(self, write: Callable[[int], object], enough: Callable[[], bool]) -> None:
        self.write, self.enough, self.writes = write, enough, 0
        self.stopped, self.thread = threading.Event(), threading.Thread(target=self.go_on)

    def go_on(self) -> None:
        while not self.stopped.wait(EVERY) and not self.enough():
            self.writes += 1
            self.write(self.writes)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()


@pytest.fixture
def work(bench: Bench, cluster: Place) -> Work:
    bench.policy = replace(bench.policy, clusters=cluster.policy.clusters, limits=Limits(namespaces=(cluster.namespace,)))
    cluster.deploy(replicas=2)
    return bench.work(ASKING, head=HEAD.replace("cluster: sandbox, namespace: shop", f"cluster: {TEST}, namespace: {cluster.namespace}"))


def approve_after(restless: Restless, writes: int) -> Callable[[Gate], tuple[str, Answer]]:
    """Somebody reads the question while the object is written so many times."""

    def approve(_gate: Gate) -> tuple[str, Answer]:
        seen = restless.writes
        while restless.writes < seen + writes:
            assert not restless.stopped.wait(EVERY / 4)
        return "ada", Answer.APPROVE

    return approve


def holds(work: Work, restless: Restless) -> None:
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    assert carry_out(work, scale=approve_after(restless, 10)) is RunEnd.DONE
    assert len(texts(work, "gate.asked")) == 1
    assert texts(work, "gate.voided") == []


def test_a_crash_loop_does_not_void_an_approval(work: Work, cluster: Place) -> None:
    def touch(number: int) -> object:
        return cluster.patch("deployments", "web", {"metadata": {"annotations": {"restarts": str(number)}}})

    with Restless(touch, lambda: False) as restless:
        holds(work, restless)
    assert cluster.get("deployments", "web")["spec"]["replicas"] == 4


def test_an_hpa_that_scales_all_the_time_does_not_void_an_approval(work: Work, cluster: Place) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, "targetCPUUtilizationPercentage": 80}
    body: dict[str, Any] = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": spec}
    cluster.create("horizontalpodautoscalers", body)

    def scale(number: int) -> None:
        cluster.patch("deployments", "web", {"spec": {"replicas": 2 + number % 2}})
        cluster.patch("horizontalpodautoscalers", "web", {"metadata": {"annotations": {"scaled": str(number)}}})

    def has_moved() -> bool:
        return bool(cluster.get("horizontalpodautoscalers", "web")["spec"]["minReplicas"] == 4)

    with Restless(scale, has_moved) as restless:
        holds(work, restless)
    assert cluster.get("horizontalpodautoscalers", "web")["spec"]["minReplicas"] == 4
