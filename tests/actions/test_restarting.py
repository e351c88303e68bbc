"""`kubernetes.restart` and `kubernetes.wait` against a cluster."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fixtures_cluster import GOOD, TEST, Place, carry_out, context_in
from stopgap.actions.contract import PermanentError, Probe
from stopgap.actions.kubernetes.restart import Restart
from stopgap.actions.kubernetes.wait import KubernetesWait


def pods_of(place: Place) -> set[str]:
    found = place.get("pods")["items"]
    return {pod["metadata"]["uid"] for pod in found if not pod["metadata"].get("deletionTimestamp")}


def waiting(place: Place, *, condition: str | None = None, seconds: float = 20) -> KubernetesWait:
    within = timedelta(seconds=seconds)
    return KubernetesWait(
        cluster=TEST, namespace=place.namespace, deployment="web", condition=condition, within=within, every=timedelta(seconds=0.1)
    )


def test_a_restart_replaces_every_pod_and_has_no_undo(cluster: Place) -> None:
    cluster.deploy(replicas=2)
    before = pods_of(cluster)
    step = Restart(cluster=TEST, namespace=cluster.namespace, deployment="web")
    change, outcome = carry_out(step, context_in(cluster.policy))
    assert change.summary == "web: replace all 2 Pods, one after the other"
    assert outcome.summary == "web: 2 new Pods are ready"
    assert not before & pods_of(cluster)
    assert step.undo(change) is None


def test_a_restart_that_was_done_is_not_done_again_under_its_mark(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    step, context = Restart(cluster=TEST, namespace=cluster.namespace, deployment="web"), context_in(cluster.policy)
    change, _ = carry_out(step, context)
    pods = pods_of(cluster)
    step.apply(context, change)
    assert pods_of(cluster) == pods
    assert step.probe(context, change) is Probe.DONE
    assert step.probe(context_in(cluster.policy, mark="INC-1.1/step/2"), change) is Probe.NOT_DONE


def test_waiting_ends_when_the_rollout_is_done(cluster: Place) -> None:
    cluster.deploy(replicas=2, ready=False)
    change, outcome = carry_out(waiting(cluster), context_in(cluster.policy))
    assert change.is_empty
    assert (outcome.changed, outcome.summary) == (False, "the rollout of web is done: 2 of 2 ready")


def test_waiting_for_a_condition_that_does_not_come_says_what_was_seen(cluster: Place) -> None:
    cluster.deploy(replicas=1, image=GOOD + "-broken", ready=False)
    with pytest.raises(
        PermanentError, match=r"^web is Available: this did not hold within 1s; the last answer was: Available=False .*\(0 of 1 ready\)\.$"
    ):
        carry_out(waiting(cluster, condition="Available", seconds=1), context_in(cluster.policy))
