"""`stopgap permissions`: with the Role that it prints runbooks run on a real control plane, and with any one rule less they do not."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fixtures_cluster import BETTER, GOOD, TEST, Place, carry_out, context_in
from stopgap.actions.kubernetes.answers import ForbiddenError
from stopgap.plan import permissions, prepare
from stopgap.runbook import load

if TYPE_CHECKING:
    from stopgap.actions.contract import Action
    from stopgap.policy.model import Policy
    from stopgap.runbook.model import Call, Runbook

SHIPPED = Path(__file__).parents[2] / "runbooks"
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


def test_what_is_allowed_on_any_object_is_not_said_of_certain_ones_again(tmp_path: Path) -> None:
    found = runbook(tmp_path, "shop")
    other = tmp_path / "other.yaml"
    text = found.path.read_text().replace("name: a-test", "name: other").partition("steps:")[0]
    other.write_text(
        text + 'parameters: {which: {type: string}}\nsteps: [{id: it, uses: kubernetes.wait, with: {deployment: "${{ params.which }}"}}]\n'
    )
    ((_, role),) = permissions.roles(permissions.of([found, load.load(other)]), name="night")
    assert [rule for rule in role["rules"] if rule["resources"] == ["deployments"]] == [
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["web"], "verbs": ["patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
    ]


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


def moved(place: Place, folder: Path) -> list[tuple[Runbook, Call]]:
    """The steps on Kubernetes of every runbook that comes along, moved into the namespace of a test."""
    found = []
    for path in sorted(SHIPPED.rglob("*.yaml")):
        text = path.read_text()
        if "uses: kubernetes." in text and not path.name.endswith(".drill.yaml"):
            there = folder / path.name
            there.write_text(text.replace("cluster: prod, namespace: shop", f"cluster: {TEST}, namespace: {place.namespace}"))
            book = load.load(there)
            calls = [
                call
                for step in (*book.steps, *(each for step in book.steps for each in step.parallel))
                for call in (step.call, step.verify)
                if call
            ]
            found += [(book, call) for call in calls if call.uses.startswith("kubernetes.")]
    return found


def built(book: Runbook, call: Call) -> Action:
    parameters = {name: each.schema.get("default") for name, each in book.parameters.items()}
    return prepare.action(book, call, {"params": parameters, "item": "checkout"})


def refused(calls: list[tuple[Runbook, Call]], policy: Policy) -> list[str]:
    """The actions that the API server does not let these credentials carry out."""
    found = []
    for book, call in calls:
        try:
            carry_out(built(book, call), context_in(policy))
        except ForbiddenError:
            found.append(f"{book.name}: {call.uses}")
    return found


@pytest.mark.parametrize("cluster", ["real"], indirect=True)
def test_the_runbooks_that_come_along_run_with_their_role_and_with_no_rule_less(cluster: Place, tmp_path: Path) -> None:
    calls = moved(cluster, tmp_path)
    assert len(calls) > 10
    for name in sorted({str(deployment) for book, call in calls if (deployment := getattr(built(book, call), "deployment", None))}):
        labels: dict[str, Any] = (
            {"app": "checkout", "track": "stable" if name.endswith("stable") else "current"} if name.startswith("checkout") else {}
        )
        cluster.deploy(name, replicas=1, image=GOOD, **labels)
        cluster.release(name, BETTER)
    spec = {"selector": {"app": "checkout", "track": "current"}, "ports": [{"port": 80}]}
    cluster.create("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "checkout"}, "spec": spec})
    ((_, role),) = permissions.roles(permissions.of({book.name: book for book, _ in calls}.values()), name="night")
    give(cluster, role["rules"], is_new=True)
    policy = account(cluster, tmp_path)
    _until(lambda: not refused(calls[:1], policy))
    assert refused(calls, policy) == []
    for rule in role["rules"]:
        give(cluster, [each for each in role["rules"] if each != rule])
        _until(lambda: any(refused([each], policy) for each in calls))


def _until(holds: Any) -> None:
    ends = time.monotonic() + 15  # an API server hears of a changed Role a moment later
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.1)
