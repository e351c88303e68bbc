"""One deployment per runbook: its form, what the form refuses, and what happens when a runbook goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.exceptions import PrefectHTTPStatusError

from stopgap.engine import deploy, form
from stopgap.runbook import load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("prefect_settings")

TEXT = """\
apiVersion: stopgap/v1
kind: Runbook
name: shop-slow
title: The shop is slow
description: Adds capacity, then tells people.
owner: payments-oncall
severity: SEV2
parameters:
  replicas: {type: integer, minimum: 1, maximum: 30, default: 9}
  reason: {type: string, title: Why, description: For the timeline}
steps:
  - id: look
    name: Look at it
    uses: wait
    with: {for: 1s}
  - id: tell
    name: Tell people
    uses: note
    with: {text: hello}
    approval: {by: [incident-commander, technical-lead], approvers: 2}
"""


@pytest.fixture
def runbooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runbooks"
    folder.mkdir()
    (folder / "shop-slow.yaml").write_text(TEXT)
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(folder))
    return folder


def test_a_runbook_becomes_a_deployment_with_its_form(runbooks: Path) -> None:
    (deployed,) = deploy.deploy(load.load_all(runbooks))
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name("shop-slow/stopgap")
    assert found.id == deployed.id
    assert found.version == deployed.version
    assert found.entrypoint == "stopgap_flows.shop_slow"
    assert found.tags == ["stopgap", "SEV2", "payments-oncall"]
    assert found.enforce_parameter_schema is True
    assert found.parameter_openapi_schema == {
        "type": "object",
        "title": "Parameters",
        "properties": {
            "replicas": {"title": "replicas", "type": "integer", "minimum": 1, "maximum": 30, "default": 9, "position": 0},
            "reason": {"title": "Why", "type": "string", "description": "For the timeline", "position": 1},
            "stopgap_run": {
                "title": "Run on the timeline",
                "type": "string",
                "description": "Leave empty. stopgap fills it in when it starts a run by itself; the parameters are then read from the timeline.",
                "position": 2,
            },
        },
        "required": ["reason"],
        "additionalProperties": False,
    }


def test_the_description_says_what_each_step_does_and_who_is_asked(runbooks: Path) -> None:
    assert deploy.describe(load.load_all(runbooks)["shop-slow"]) == (
        "**The shop is slow** (SEV2, payments-oncall)\n\n"
        "Adds capacity, then tells people.\n\n"
        "| step | does | asks |\n"
        "| --- | --- | --- |\n"
        "| Look at it | `wait` |  |\n"
        "| Tell people | `note` | 2 of incident-commander or technical-lead |"
    )


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({}, "'reason' is a required property"),
        ({"reason": "slow", "replicas": 31}, "31 is greater than the maximum of 30"),
        ({"reason": "slow", "replicas": "many"}, "'many' is not of type 'integer'"),
        ({"reason": "slow", "replica": 3}, "('replica' was unexpected)"),
    ],
)
def test_the_form_refuses_what_the_runbook_does_not_allow(runbooks: Path, parameters: dict[str, object], complaint: str) -> None:
    (deployed,) = deploy.deploy(load.load_all(runbooks))
    with get_client(sync_client=True) as client, pytest.raises(PrefectHTTPStatusError) as error:
        client.create_flow_run_from_deployment(deployed.id, parameters=parameters)
    assert error.value.response.status_code == 409
    assert complaint in error.value.response.json()["detail"]


def test_deploying_again_updates_the_same_deployment(runbooks: Path) -> None:
    (first,) = deploy.deploy(load.load_all(runbooks))
    path = runbooks / "shop-slow.yaml"
    path.write_text(path.read_text().replace("maximum: 30", "maximum: 40"))
    (second,) = deploy.deploy(load.load_all(runbooks))
    assert first.id == second.id
    assert first.version != second.version


def test_deploying_again_leaves_alone_what_is_as_it_should_be_and_puts_right_what_is_not(runbooks: Path) -> None:
    (deployed,) = deploy.deploy(load.load_all(runbooks))
    with get_client(sync_client=True) as client:
        first = client.read_deployment(deployed.id)
        deploy.deploy(load.load_all(runbooks))
        assert client.read_deployment(deployed.id).updated == first.updated
        client.update_deployment(deployed.id, DeploymentUpdate(description="Somebody wrote over it."))
        deploy.deploy(load.load_all(runbooks))
        assert client.read_deployment(deployed.id).description == first.description


def test_pruning_removes_what_has_no_runbook_any_more_unless_a_run_is_open(runbooks: Path) -> None:
    text = (runbooks / "shop-slow.yaml").read_text()
    (runbooks / "old.yaml").write_text(text.replace("name: shop-slow", "name: shop-old"))
    (runbooks / "busy.yaml").write_text(text.replace("name: shop-slow", "name: shop-busy"))
    deployed = {each.runbook: each.id for each in deploy.deploy(load.load_all(runbooks))}
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(deployed["shop-busy"], parameters={"reason": "slow"})
        for name in ("old.yaml", "busy.yaml"):
            (runbooks / name).unlink()
        deploy.deploy(load.load_all(runbooks), prune=True)
        ids = set(deployed.values())  # other tests' deployments may lie on this server too
        assert {each.id for each in deploy.ours(client)} & ids == {deployed["shop-slow"], deployed["shop-busy"]}
        client.delete_flow_run(run.id)
        deploy.deploy(load.load_all(runbooks), prune=True)
        assert {each.id for each in deploy.ours(client)} & ids == {deployed["shop-slow"]}


def test_an_archived_runbook_is_not_registered(runbooks: Path) -> None:
    path = runbooks / "shop-slow.yaml"
    path.write_text(path.read_text() + "archived: true\n")
    assert deploy.deploy(load.load_all(runbooks)) == ()


def test_a_flow_with_our_signature_gets_the_same_fields_from_prefect_itself(runbooks: Path) -> None:
    from prefect import Flow

    runbook = load.load_all(runbooks)["shop-slow"]

    async def run(**parameters: object) -> object:
        return parameters

    run.__signature__ = form.signature(runbook)  # type: ignore[attr-defined]
    fields = Flow(run, name="shop-slow").parameters.model_dump_for_openapi()["properties"]
    wanted = form.schema(runbook)["properties"]
    assert list(fields) == list(wanted)
    assert fields["replicas"] == wanted["replicas"]
    assert fields["reason"] == {**wanted["reason"], "title": "reason", "default": None}  # Prefect takes the name for the title
