"""Which cluster an action reaches, with whose credentials: only what policy.yaml names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from fixtures_cluster import TEST, Place, context_in
from stopgap.actions.contract import PermanentError
from stopgap.actions.kubernetes.wait import KubernetesWait
from stopgap.policy.model import Cluster, ClusterName, Policy

if TYPE_CHECKING:
    from pathlib import Path


def look(policy: Policy, namespace: str = "shop", cluster: str = TEST) -> str:
    step = KubernetesWait(cluster=ClusterName(cluster), namespace=namespace, deployment="web")
    return step.plan(context_in(policy)).summary


def one(path: Path | None, context: str = "test", *, in_cluster: bool = False) -> Policy:
    return Policy(clusters={TEST: Cluster(name=TEST, kubeconfig=path, context=context, in_cluster=in_cluster)})


def test_an_unknown_cluster_names_the_known_ones() -> None:
    with pytest.raises(PermanentError, match=r'^policy.yaml knows no cluster "tset". Did you mean "test"\? It knows: test.$'):
        look(one(None), cluster="tset")


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        PermanentError, match=rf'^Cluster "test": there is no kubeconfig {tmp_path}/none.\nCorrect `kubeconfig:` in policy.yaml.$'
    ):
        look(one(tmp_path / "none"))


@pytest.mark.parametrize("text", ["", "[]", "a: [", "contexts: 3", "contexts: [{name: test, context: {cluster: c, user: u}}]", "\x00"])
def test_a_kubeconfig_that_is_none_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(PermanentError, match=rf'^Cluster "test": {path} '):
        look(one(path))


def test_the_current_context_is_never_used(cluster: Place, tmp_path: Path) -> None:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["current-context"] = cluster.context
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        PermanentError,
        match=rf"{path} is named without a `context:`, and its current context is never used. Its contexts are: {cluster.context}\.$",
    ):
        look(one(path, context=""))
    with pytest.raises(PermanentError, match=rf'{path} has no context "other". Its contexts are: {cluster.context}\.$'):
        look(one(path, context="other"))


def test_kubeconfig_and_proxies_of_the_environment_are_not_used(cluster: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.deploy(replicas=1)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "hostile"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert look(cluster.policy, cluster.namespace) == "wait until the rollout of web is done; now: 1 of 1 ready"


def test_in_cluster_credentials_outside_of_a_pod_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(
        PermanentError, match=r'^Cluster "test" is `in_cluster: true`, but this process does not run in a Pod with a service account: '
    ):
        look(one(None, in_cluster=True))


def test_credentials_that_are_not_accepted_are_named(cluster: Place, tmp_path: Path) -> None:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "wrong"}
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        PermanentError, match=rf"^Cluster \"test\" \(http.*\) did not accept the credentials of context {cluster.context} of {path}: "
    ):
        look(cluster.policy_of(path), cluster.namespace)


def test_a_credential_plugin_is_run_by_a_live_step_and_one_that_fails_is_named(cluster: Place, tmp_path: Path) -> None:
    cluster.deploy(replicas=1)
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    token = config["users"][0]["user"]["token"]
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "command": "echo", "args": [json.dumps(answer)]}
    config["users"][0]["user"] = {"exec": plugin}
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    assert look(cluster.policy_of(path), cluster.namespace).endswith("1 of 1 ready")
    plugin["command"] = "false"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        PermanentError,
        match=rf"the credential plugin of context {cluster.context} in {path} gave no credentials.\nA dry run starts no programs",
    ):
        look(cluster.policy_of(path), cluster.namespace)


@pytest.mark.parametrize("cluster", ["real"], indirect=True)
def test_a_server_with_another_certificate_is_not_trusted(cluster: Place, tmp_path: Path) -> None:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"].pop("certificate-authority", None)
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        PermanentError, match=r'the API server https://.* of cluster "test" is not trusted \(SSLError: .*\)\. Nothing was sent\.$'
    ):
        look(cluster.policy_of(path), cluster.namespace)


def test_a_namespace_that_is_not_there_asks_whether_it_is_right(cluster: Place) -> None:
    with pytest.raises(
        PermanentError, match=r'^Namespace "nowhere" of cluster "test" has no deployment "web", and no other; is the namespace right\?$'
    ):
        look(cluster.policy, "nowhere")
