"""`stopgap permissions`: with the Role that it prints runbooks run on a real control plane, and with any one rule less they do not."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fixtures_cluster import BETTER, GOOD, TEST, Place, carry_out, context_in
from stopgap.actions.kubernetes.answers import ForbiddenError
from stopgap.plan import permissions, prepare
from stopgap.runbook import load

if TYPE_CHECKING:
    from pathlib import Path

    from stopgap.policy.model import Policy
    from stopgap.runbook.model import Runbook

RUNBOOK = """\
apiVersion: stopgap/v1
kind: Runbook
name: a-test
title: A test
description: A runbook of the tests.
owner: oncall
severity: SEV3
defaults: {{cluster: test, namespace: {namespace}}}
steps:
  - {{id: scale, name: Scale, uses: kubernetes.scale, with: {{deployment: web, replicas: {replicas}}}, verify: {{uses: kubernetes.wait, with: {{deployment: web}}}}}}
  - {{id: back, name: Back, uses: kubernetes.rollback, with: {{deployment: web}}}}
  - {{id: switch, name: Switch, uses: kubernetes.switch_service, with: {{service: web, selector: {{tier: null}}}}}}
"""


def runbook(folder: Path, namespace: str, replicas: int = 1) -> Runbook:
    path = folder / "a-test.yaml"
    path.write_text(RUNBOOK.format(namespace=namespace, replicas=replicas))
    return load.load(path)


def test_a_role_names_the_very_objects_and_merges_what_is_about_the_same(tmp_path: Path) -> None:
    needs = permissions.of([runbook(tmp_path, "shop")])
    ((cluster, role),) = permissions.roles(needs, name="night")
    assert (cluster, role["kind"], role["metadata"]) == ("test", "Role", {"name": "night", "namespace": "shop"})
    assert role["rules"] == [
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["web"], "verbs": ["get", "patch"]},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["services"], "resourceNames": ["web"], "verbs": ["get", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]
    assert "a wrong name is answered without the near ones" in needs.lost
    assert permissions.of([runbook(tmp_path, "shop")], optional=True).lost == []


def test_what_a_runbook_within_a_runbook_needs_is_in_the_role(tmp_path: Path) -> None:
    within = runbook(tmp_path, "shop")
    path = tmp_path / "policy.yaml"
    path.write_text("apiVersion: stopgap/v1\nkind: Policy\npeople: {ada: {name: Ada}}\nroles: {incident-commander: {holders: [ada]}}\n")
    outer = tmp_path / "outer.yaml"
    head = RUNBOOK.partition("steps:")[0].format(namespace="shop").replace("name: a-test", "name: outer")
    outer.write_text(head + "steps:\n  - {id: inner, uses: runbook.run, with: {runbook: a-test}}\n")
    assert permissions.of([load.load(outer)]) == permissions.of([within])


def account(place: Place, folder: Path) -> Policy:
    """A service account of the namespace, bound to the Role `night`, as the policy's credentials."""
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": place.namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "night"}
    binding = {"metadata": {"name": "night"}, "subjects": [subject], "roleRef": reference}
    place.create("rolebindings", {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", **binding})
    ends = time.monotonic() + 20
    while not (named := place.get("serviceaccounts", "default").get("secrets")):
        assert time.monotonic() < ends
        time.sleep(0.1)
    token = base64.b64decode(place.get("secrets", named[0]["name"])["data"]["token"]).decode()
    config = yaml.safe_load(place.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = folder / "night.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return place.policy_of(path)


def give(place: Place, rules: list[dict[str, Any]], *, is_new: bool = False) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "night"}, "rules": rules}
    if is_new:
        place.create("roles", role)
    else:
        place.admin.put(place.url("roles", "night"), json=role).raise_for_status()


def run(found: Runbook, policy: Policy) -> None:
    for step in found.steps:
        assert step.call
        for call in (step.call, step.verify):
            if call is not None:
                carry_out(prepare.action(found, call, {}), context_in(policy))


def enough(found: Runbook, policy: Policy) -> bool:
    try:
        run(found, policy)
    except ForbiddenError:
        return False
    return True


@pytest.mark.parametrize("cluster", ["real"], indirect=True)
def test_the_role_is_enough_and_any_one_rule_less_is_not(cluster: Place, tmp_path: Path) -> None:
    cluster.deploy(replicas=1, image=GOOD)
    cluster.release("web", BETTER)
    spec = {"selector": {"app": "web", "tier": "x"}, "ports": [{"port": 80}]}
    cluster.create("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
    found = runbook(tmp_path, cluster.namespace, 2)
    ((name, role),) = permissions.roles(permissions.of([found]), name="night")
    assert name == TEST
    give(cluster, role["rules"], is_new=True)
    policy = account(cluster, tmp_path)
    _until(lambda: enough(found, policy))
    pieces = [(index, verb) for index, rule in enumerate(role["rules"]) for verb in rule["verbs"]]
    assert len(pieces) == 6
    for index, verb in pieces:
        less = [{**rule, "verbs": [it for it in rule["verbs"] if (at, it) != (index, verb)]} for at, rule in enumerate(role["rules"])]
        cluster.patch("services", "web", {"spec": {"selector": {"tier": "x"}}})
        cluster.patch("deployments", "web", {"spec": {"replicas": 1}})
        cluster.until_ready("web")
        give(cluster, [rule for rule in less if rule["verbs"]])
        _until(lambda: not enough(found, policy))


def _until(holds: Any) -> None:
    ends = time.monotonic() + 15  # an API server hears of a changed Role a moment later
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.1)
