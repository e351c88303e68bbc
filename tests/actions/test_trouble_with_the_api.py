"""What becomes of a step when the API server refuses, is away, or loses its answer."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from fixtures_cluster import TEST, Place, carry_out, context_in
from stopgap.actions.contract import InDoubtError, PermanentError, Probe, TemporaryError
from stopgap.actions.kubernetes.scale import Scale
from stopgap.actions.kubernetes.switch_service import SwitchService
from stopgap.policy.model import Cluster, Policy

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures_proxy import Proxy


def scale(namespace: str, replicas: int = 3) -> Scale:
    return Scale(cluster=TEST, namespace=namespace, deployment="web", replicas=replicas)


def test_a_viewer_may_not_scale_and_the_message_says_who_may_not_do_what(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    with pytest.raises(PermanentError) as caught:
        scale(cluster.namespace).plan(context_in(cluster.other_user("viewer")))
    message = str(caught.value)
    assert message.startswith('Cluster "test" (http')
    assert 'User "viewer" cannot patch resource "deployments" in API group "apps"' in message
    assert message.endswith(
        "Give the user of context "
        f"{cluster.context} of {cluster.kubeconfig.with_name('viewer.kubeconfig')} this permission, or use other credentials."
    )


def test_read_only_credentials_of_a_dry_run_plan_without_the_servers_check(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    viewer = cluster.other_user("viewer").clusters[TEST].kubeconfig
    policy = Policy(clusters={TEST: Cluster(name=TEST, kubeconfig=cluster.kubeconfig, context=cluster.context, read_only=viewer)})
    change = scale(cluster.namespace).plan(context_in(policy, mode="dry"))
    assert change.checked == "predicted"
    assert change.notes[-1] == "not checked by the server: the read-only credentials of this cluster may not even try it"
    assert scale(cluster.namespace).plan(context_in(policy)).checked == "server"


def test_an_api_server_that_is_not_there_is_named_and_nothing_was_sent(cluster: Place, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    path = tmp_path / "gone.kubeconfig"
    path.write_text(
        f"clusters: [{{name: c, cluster: {{server: '{url}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
        f"contexts: [{{name: {cluster.context}, context: {{cluster: c, user: u}}}}]\n"
    )
    with pytest.raises(
        TemporaryError, match=rf'the API server {url} of cluster "test" cannot be reached \(NewConnectionError: .*\)\. Nothing was sent\.$'
    ):
        scale(cluster.namespace).plan(context_in(cluster.policy_of(path)))


def test_a_lost_answer_leaves_the_step_in_doubt_and_the_probe_finds_the_effect(cluster: Place, proxy: Proxy) -> None:
    cluster.deploy(replicas=1)
    step, context = scale(cluster.namespace), context_in(proxy.policy)
    change = step.plan(context)
    proxy.mode = "lose"
    with pytest.raises(InDoubtError, match=r"did not answer \(ProtocolError: .*\); the request may have been carried out\.$"):
        step.apply(context, change)
    proxy.mode = "forward"
    cluster.until_ready("web")
    assert step.probe(context, change) is Probe.DONE
    assert len([seen for seen in proxy.seen if seen.may_change]) == 1


def test_a_request_that_was_not_heard_leaves_the_step_in_doubt_and_the_probe_says_not_done(cluster: Place, proxy: Proxy) -> None:
    cluster.deploy(replicas=1)
    step, context = scale(cluster.namespace), context_in(proxy.policy)
    change = step.plan(context)
    proxy.mode = "away"
    with pytest.raises(InDoubtError):
        step.apply(context, change)
    proxy.mode = "forward"
    assert step.probe(context, change) is Probe.NOT_DONE


def test_an_api_server_stopped_and_started_in_the_middle_of_a_step_is_waited_for(cluster: Place, proxy: Proxy) -> None:
    cluster.deploy(replicas=1)
    step, context = scale(cluster.namespace, 2), context_in(proxy.policy)
    change = step.plan(context)
    proxy.away_after_change = 4
    outcome = step.apply(context, change)
    assert outcome.summary == "web: 1 -> 2 replicas; 2 ready"
    assert proxy.away_after_change == 0
    assert len([seen for seen in proxy.seen if seen.may_change]) == 1


def test_a_server_that_never_answers_ends_at_the_deadline_in_doubt(cluster: Place, proxy: Proxy) -> None:
    cluster.deploy(replicas=1)
    step = scale(cluster.namespace)
    change = step.plan(context_in(proxy.policy))
    hold = threading.Event()
    proxy.hold = hold
    with pytest.raises(InDoubtError, match="ReadTimeoutError"):
        step.apply(context_in(proxy.policy, seconds=0.5), change)
    hold.set()


def test_after_the_deadline_nothing_is_sent(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    step = scale(cluster.namespace)
    change = step.plan(context_in(cluster.policy))
    with pytest.raises(TemporaryError, match=r"the step's deadline has passed; nothing was sent\.$"):
        step.apply(context_in(cluster.policy, seconds=-1), change)


def test_a_responder_who_may_not_see_hpas_and_endpoints_can_still_act_and_is_told(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    spec = {"selector": {"app": "web", "tier": "x"}, "ports": [{"port": 80}]}
    cluster.create("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
    policy = cluster.other_user("responder")
    change, outcome = carry_out(scale(cluster.namespace, 2), context_in(policy))
    assert outcome.summary == "web: 1 -> 2 replicas; 2 ready"
    if cluster.kind == "real":  # the sandbox lets its responder see them
        assert change.notes == ("these credentials may not list HPAs: if one owns the Deployment, it will put the replicas back",)
    switch = SwitchService(cluster=TEST, namespace=cluster.namespace, service="web", selector={"tier": None})
    assert carry_out(switch, context_in(policy))[1].data["ready"] == 2


def test_a_service_whose_api_server_goes_away_after_the_switch_is_waited_for(cluster: Place, proxy: Proxy) -> None:
    cluster.deploy(replicas=1)
    spec = {"selector": {"app": "web", "tier": "x"}, "ports": [{"port": 80}]}
    cluster.create("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
    step = SwitchService(cluster=TEST, namespace=cluster.namespace, service="web", selector={"tier": None})
    change = step.plan(context_in(proxy.policy))
    proxy.away_after_change = 2
    outcome = step.apply(context_in(proxy.policy), change)
    assert outcome.summary == "web: traffic goes to app=web"
    assert len([seen for seen in proxy.seen if seen.may_change]) == 1
