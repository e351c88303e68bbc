from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from stopgap.policy import load
from stopgap.policy.model import BreakGlass, ClusterName, Escalation, PersonId, RoleName, Severity
from stopgap.problems import ProblemsError

SHIPPED = Path(__file__).parent.parent.parent / "runbooks" / "policy.yaml"


def test_the_shipped_policy_becomes_values() -> None:
    policy = load.load(SHIPPED)
    assert policy.holders(RoleName("incident-commander")) == (PersonId("ada"), PersonId("ben"), PersonId("chen"))
    assert policy.clusters[ClusterName("prod")].context == "prod"
    assert policy.limits.max_replicas == 50
    assert policy.approvals.expires == timedelta(minutes=15)


def test_a_relative_kubeconfig_begins_at_the_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    text = SHIPPED.read_text(encoding="utf-8").replace("~/.kube/config", "kube/prod")
    path.write_text(text, encoding="utf-8")
    assert load.load(path).clusters[ClusterName("prod")].kubeconfig == tmp_path / "kube" / "prod"


def test_a_holder_who_is_nobody_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(SHIPPED.read_text(encoding="utf-8").replace("holders: [ada]", "holders: [adda]"), encoding="utf-8")
    with pytest.raises(ProblemsError) as caught:
        load.load(path)
    assert str(caught.value) == f'{path}:17:34: "adda" is nobody under "people" [unknown-person]  did you mean "ada"?'


def test_rules_of_a_severity_stand_in_place_of_those_for_every_gate(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    own = """
  approvers: 1
  escalate: [{after: 5m, to: technical-lead}]
  by_severity: {SEV1: {asks: every-change, approvers: 2, expires: 8m, break_glass: {people: [dana], after: 4m}}}
"""
    text = SHIPPED.read_text(encoding="utf-8")
    path.write_text(text.replace("  expires: 15m\n", f"  expires: 15m{own}", 1), encoding="utf-8")
    policy = load.load(path)
    worst, usual = policy.rules(Severity.SEV1), policy.rules(Severity.SEV3)
    assert (worst.asks, worst.approvers, worst.expires) == ("every-change", 2, timedelta(minutes=8))
    assert worst.break_glass == BreakGlass(people=(PersonId("dana"),), after=timedelta(minutes=4))
    assert (usual.asks, usual.approvers, usual.break_glass) == ("risky", 1, None)
    assert worst.escalate == usual.escalate == (Escalation(after=timedelta(minutes=5), to=RoleName("technical-lead")),)
