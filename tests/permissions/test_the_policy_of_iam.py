"""The IAM policy that `stopgap permissions` prints: a document of the right shape, of actions that AWS has. No IAM has ever evaluated it."""

from __future__ import annotations

from pathlib import Path

import botocore.session

from stopgap.actions import registry
from stopgap.plan import permissions
from stopgap.runbook import load

RUNBOOKS = Path(__file__).parents[2] / "runbooks"
SERVICES = {"elasticloadbalancing": "elbv2"}  # where IAM and the API have two names


def declared(name: str) -> list[str]:
    rules = registry.load(name).permissions.get("aws", ())
    return [action for rule in rules for action in ([rule] if isinstance(rule, str) else rule["actions"])]


def test_every_action_of_iam_that_is_declared_is_an_operation_of_that_service() -> None:
    session = botocore.session.Session()
    found = sorted({action for name in registry.names() for action in declared(name)})
    assert len(found) > 30
    unknown = []
    for action in found:
        service, operation = action.split(":")
        if operation not in session.get_service_model(SERVICES.get(service, service)).operation_names:
            unknown.append(action)
    assert unknown == []


def test_the_policy_is_a_document_of_iam_and_has_every_action_of_the_runbooks() -> None:
    runbooks = list(load.load_all(RUNBOOKS).values())
    needs = permissions.of(runbooks, optional=True)
    documents = [permissions.iam(statements) for statements in needs.aws.values()]
    assert documents
    for document in documents:
        assert (set(document), document["Version"]) == ({"Version", "Statement"}, "2012-10-17")
        assert all(set(each) == {"Effect", "Action", "Resource"} and each["Effect"] == "Allow" for each in document["Statement"])
    allowed = {action for document in documents for each in document["Statement"] for action in each["Action"]}
    used = {step.call.uses for runbook in runbooks for step in runbook.steps if step.call and step.call.uses.startswith("aws.")}
    assert used
    assert allowed == {action for name in used for action in declared(name)}
