"""What holds for every action, tried for those on Nodes and single Pods, on a real control plane."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_cluster import TEST, Place, context_in
from stopgap.actions.contract import InDoubtError, PermanentError, Probe
from stopgap.actions.guard import DryRunViolation
from stopgap.actions.kubernetes import objects
from stopgap.actions.kubernetes.client import connect
from stopgap.actions.kubernetes.delete_pod import DeletePod
from stopgap.actions.kubernetes.drain import Drain
from stopgap.actions.kubernetes.nodes import Cordon, Uncordon
from stopgap.testing.actions import ActionContract, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.parametrize("cluster", ["real"], indirect=True)
ONE_WRITE = {Probe.IN_PROGRESS: "it is one write, and nothing follows from it"}


@pytest.fixture
def node(cluster: Place) -> Iterator[str]:
    """A Node of the test's own, to which the scheduler sends nothing."""
    name = f"n-{uuid.uuid4().hex[:8]}"
    taint = {"key": "stopgap.dev/test", "value": name, "effect": "NoSchedule"}
    cluster.create("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": [taint]}})
    yield name
    cluster.admin.delete(cluster.url("nodes", name)).raise_for_status()


def settle(place: Place, node: str, app: str = "web", *, owner: str = "ReplicaSet", **spec: Any) -> None:
    """A ready Pod on this very Node, with a controller that will start it again elsewhere."""
    body = {"containers": [{"name": "c", "image": "shop/web:1"}], "terminationGracePeriodSeconds": 0, **spec}
    labels = {"app": app}
    metadata = {"name": f"{app}-0", "labels": labels}
    place.create("pods", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**body, "nodeName": node}})
    conditions = [{"type": kind, "status": "True"} for kind in ("ContainersReady", "Ready")]
    place.patch("pods", f"{app}-0/status", {"status": {"phase": "Running", "conditions": conditions}})
    if owner:  # it adopts the Pod
        # A DaemonSet replaces what is not of its newest template, by default, and this Pod is of none.
        rest = {"replicas": 1} if owner == "ReplicaSet" else {"updateStrategy": {"type": "OnDelete"}}
        template = {"metadata": {"labels": labels}, "spec": body}
        controller = {**rest, "selector": {"matchLabels": labels}, "template": template}
        place.create(f"{owner.lower()}s", {"apiVersion": "apps/v1", "kind": owner, "metadata": {"name": app}, "spec": controller})
        place.until("pods", f"{app}-0", lambda it: bool(it["metadata"].get("ownerReferences")))


def is_closed(place: Place, node: str) -> bool:
    return bool(place.get("nodes", node)["spec"].get("unschedulable"))


def on(place: Place, node: str) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in place.get("pods")["items"] if pod["spec"].get("nodeName") == node)


class TestCordon(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place, node: str) -> Scene:
        return Scene(
            action=Cordon(cluster=TEST, node=node),
            policy=cluster.policy,
            look=lambda: is_closed(cluster, node),
            meddle=lambda: cluster.patch("nodes", node, {"spec": {"unschedulable": None}}),
            never=ONE_WRITE,
        )


class TestUncordon(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place, node: str) -> Scene:
        cluster.patch("nodes", node, {"spec": {"unschedulable": True}})
        return Scene(
            action=Uncordon(cluster=TEST, node=node),
            policy=cluster.policy,
            look=lambda: is_closed(cluster, node),
            meddle=lambda: cluster.patch("nodes", node, {"spec": {"unschedulable": True}}),
            never=ONE_WRITE,
        )


class TestDrain(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place, node: str) -> Scene:
        settle(cluster, node)
        return Scene(
            action=Drain(cluster=TEST, node=node),
            policy=cluster.policy,
            look=lambda: is_closed(cluster, node),
            meddle=lambda: cluster.patch("nodes", node, {"spec": {"unschedulable": None}}),
            goes_on=True,
            never={Probe.IN_PROGRESS: "shown below with a Pod that takes its time to end"},
        )


class TestDeletePod(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        cluster.deploy(replicas=1)
        (pod,) = cluster.get("pods")["items"]
        hard = {"pods": "0"}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": hard}}

        def stall() -> None:
            cluster.create("resourcequotas", quota)
            cluster.until("resourcequotas", "none", lambda it: "used" in it.get("status", {}))

        return Scene(
            action=DeletePod(cluster=TEST, namespace=cluster.namespace, pod=pod["metadata"]["name"]),
            policy=cluster.policy,
            look=lambda: sorted(
                it["metadata"]["uid"] for it in cluster.get("pods")["items"] if not it["metadata"].get("deletionTimestamp")
            ),
            stall=stall,
            has_marks=False,
            never={Probe.UNKNOWN: "a Pod of that uid is there or gone, and nobody can bring it back"},
        )


def test_a_drain_evicts_what_has_a_controller_and_leaves_daemonsets(cluster: Place, node: str) -> None:
    settle(cluster, node)
    settle(cluster, node, "agent", owner="DaemonSet", tolerations=[{"operator": "Exists"}])
    step, context = Drain(cluster=TEST, node=node), context_in(cluster.policy)
    change = step.plan(context)
    assert change.summary == f"{node}: evict 1 Pods of {cluster.namespace}/ReplicaSet/web"
    outcome = step.apply(context, change)
    assert (outcome.data["evicted"], on(cluster, node)) == (1, ["agent-0"])
    assert step.probe(context, change) is Probe.DONE


def test_a_drain_waits_for_a_disruption_budget_and_goes_on_when_it_allows(cluster: Place, node: str) -> None:
    settle(cluster, node)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    cluster.create(
        "poddisruptionbudgets", {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": spec}
    )
    cluster.until("poddisruptionbudgets", "web", lambda it: it.get("status", {}).get("expectedPods") == 1)
    step = Drain(cluster=TEST, node=node)
    context = context_in(cluster.policy, seconds=2)
    change = step.plan(context)
    assert change.notes == (f"the PodDisruptionBudget {cluster.namespace}/web allows no disruption now: this waits until it does",)
    with pytest.raises(InDoubtError, match=r"1 Pods are left; .*/web-0 may not go yet: .*disruption budget"):
        step.apply(context, change)
    assert (is_closed(cluster, node), on(cluster, node)) == (True, ["web-0"])
    assert step.probe(context_in(cluster.policy), change) is Probe.NOT_DONE
    done: list[object] = []
    again = context_in(cluster.policy, mark="INC-1.1/step/2")
    thread = threading.Thread(target=lambda: done.append(step.apply(again, step.plan(again))))
    thread.start()
    cluster.patch("replicasets", "web", {"spec": {"replicas": 2}})
    thread.join(30)
    assert (len(done), on(cluster, node)) == (1, [])
    assert cluster.get("nodes", node)["metadata"]["annotations"][objects.MARK] == context.mark, "going on sends no second cordon"
    assert step.probe(again, change) is Probe.DONE


def test_a_pod_that_takes_its_time_to_end_is_in_progress(cluster: Place, node: str) -> None:
    settle(cluster, node, terminationGracePeriodSeconds=60)  # nobody plays this Node's kubelet, so that it never ends
    step, context = Drain(cluster=TEST, node=node), context_in(cluster.policy, seconds=1.5)
    change = step.plan(context)
    with pytest.raises(InDoubtError, match=r"^draining .*: the step's deadline passed before it was done \(1 Pods are left"):
        step.apply(context, change)
    assert step.probe(context_in(cluster.policy), change) is Probe.IN_PROGRESS
    cluster.admin.request("DELETE", cluster.url("pods", "web-0"), json={"gracePeriodSeconds": 0}).raise_for_status()
    assert step.probe(context_in(cluster.policy), change) is Probe.DONE


def test_pods_that_would_be_lost_stop_a_drain_before_it_begins(cluster: Place, node: str) -> None:
    settle(cluster, node, "bare", owner="")
    settle(cluster, node, "cache", volumes=[{"name": "d", "emptyDir": {}}])
    with pytest.raises(PermanentError) as caught:
        Drain(cluster=TEST, node=node).plan(context_in(cluster.policy))
    assert str(caught.value).splitlines() == [
        f"{node} cannot be drained:",
        f"  nothing would start {cluster.namespace}/bare-0 again; give `force: true` to lose it",
        f"  {cluster.namespace}/cache-0 keeps data in an emptyDir; give `delete_local_data: true` to lose it",
    ]
    assert not is_closed(cluster, node)
    change = Drain(cluster=TEST, node=node, force=True, delete_local_data=True).plan(context_in(cluster.policy))
    assert change.now["pods to evict"] == 2


def test_a_pod_without_a_controller_is_not_deleted_unasked(cluster: Place, node: str) -> None:
    settle(cluster, node, "bare", owner="")
    with pytest.raises(PermanentError, match=r"^Nothing would start bare-0 again\. Give `force: true` to lose it\.$"):
        DeletePod(cluster=TEST, namespace=cluster.namespace, pod="bare-0").plan(context_in(cluster.policy))


def test_a_deletion_whose_body_does_not_ask_for_a_dry_run_is_refused_because_the_server_would_carry_it_out(
    cluster: Place, node: str
) -> None:
    settle(cluster, node, "bare", owner="")
    path = objects.path_of("pods", cluster.namespace, "bare-0")
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
    with connect(context_in(cluster.policy, mode="dry"), TEST) as api:
        api.delete(path, options, dry_run=True)
        with pytest.raises(DryRunViolation, match=r"^A dry run tried DELETE .*dryRun=All"):
            api._send("DELETE", path, {"dryRun": "All"}, body=options)  # noqa: SLF001  what a careless action could do
    assert on(cluster, node) == ["bare-0"]
    cluster.admin.request("DELETE", cluster.url("pods", "bare-0") + "?dryRun=All", json=options).raise_for_status()
    assert on(cluster, node) == [], "this is why"
