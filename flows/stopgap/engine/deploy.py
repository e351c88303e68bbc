"""Deployments: one per runbook, so that it can be started from Prefect's UI, API and automations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap.engine import form

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

    from stopgap.runbook.model import Runbook, Step

NAME = "stopgap"  # of every deployment, beside the flow, which is named like the runbook
TAG = "stopgap"
MODULE = "stopgap_flows"
_PAGE = 200  # the most that Prefect returns at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A runbook's deployment; `version` is the beginning of its digest."""

    runbook: str
    id: UUID
    version: str


def deploy(runbooks: Mapping[str, Runbook], *, prune: bool = False) -> tuple[Deployed, ...]:
    """Register every runbook that is not archived with the Prefect server of the environment; what is there already as it should be is left alone.

    `prune` also removes deployments of ours whose runbook is not among them; those with a run that has not ended stay.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        there = ours(client)
        known = {each.entrypoint: each for each in there}
        deployed = tuple(_register(client, runbook, known) for runbook in runbooks.values() if not runbook.archived)
        if prune:
            _prune(client, there, keep={each.id for each in deployed})
    return deployed


def attribute(name: str) -> str:
    """`checkout-latency` -> `checkout_latency`: a runbook's name in Python."""
    return name.replace("-", "_")


def describe(runbook: Runbook) -> str:
    """What a runbook does, step by step, and whom it asks; Markdown."""
    rows = [f"| {step.name} | {_does(step)} | {_asks(step)} |" for step in _flat(runbook.steps)]
    table = "\n".join(["| step | does | asks |", "| --- | --- | --- |", *rows])
    return f"**{runbook.title}** ({runbook.severity}, {runbook.owner})\n\n{runbook.description}\n\n{table}"


def project_file(runbooks: Mapping[str, Runbook]) -> str:
    """Return the text of prefect.yaml, with which `prefect deploy --all` registers the same runbooks for a Prefect process worker."""
    import yaml

    data = {
        "name": "stopgap",
        "pull": None,  # Prefect then writes the folder it is called in
        "deployments": [_entry(runbook) for _, runbook in sorted(runbooks.items()) if not runbook.archived],
    }
    return _HEAD + str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=150))


_HEAD = """\
# Written by `stopgap deploy --write prefect.yaml`; do not edit, a test compares it with the runbooks.
# For Prefect's own worker:  prefect work-pool create stopgap --type process && prefect deploy --all && prefect worker start --pool stopgap
"""


def _entry(runbook: Runbook) -> dict[str, Any]:
    return {
        "name": NAME,
        "version": _version(runbook),
        "tags": _tags(runbook),
        "description": describe(runbook).replace("{{", "{ {"),  # Prefect would take it for a template
        "entrypoint": f"flows/{MODULE}.py:{attribute(runbook.name)}",
        "enforce_parameter_schema": True,
        "work_pool": {"name": "stopgap"},
    }


def _register(client: SyncPrefectClient, runbook: Runbook, known: Mapping[str | None, DeploymentResponse]) -> Deployed:
    """A worker that comes back registers all its runbooks, and each that is written costs Prefect 80 ms."""
    wanted = _deployment(runbook)
    found = known.get(wanted["entrypoint"])
    if found is None or found.name != NAME or any(getattr(found, key) != value for key, value in wanted.items()):
        made = client.create_deployment(flow_id=client.create_flow_from_name(runbook.name), name=NAME, **wanted)
    else:
        made = found.id
    return Deployed(runbook=runbook.name, id=made, version=_version(runbook))


def _deployment(runbook: Runbook) -> dict[str, Any]:
    return {
        "version": _version(runbook),
        "tags": _tags(runbook),
        "description": describe(runbook),
        "entrypoint": f"{MODULE}.{attribute(runbook.name)}",  # the module is found in a checkout and in an installed wheel
        "parameter_openapi_schema": form.schema(runbook),
        "enforce_parameter_schema": True,
    }


def _prune(client: SyncPrefectClient, there: Iterable[DeploymentResponse], *, keep: set[UUID]) -> None:
    for deployment in there:
        if deployment.id not in keep and not _has_open_runs(client, deployment.id):
            client.delete_deployment(deployment.id)


def ours(client: SyncPrefectClient) -> tuple[DeploymentResponse, ...]:
    """Return every deployment that stopgap registered on this server."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
    from prefect.client.schemas.sorting import DeploymentSort

    by_tag = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found: list[DeploymentResponse] = []
    while page := client.read_deployments(deployment_filter=by_tag, limit=_PAGE, sort=DeploymentSort.NAME_ASC, offset=len(found)):
        found.extend(page)
    return tuple(found)


def _has_open_runs(client: SyncPrefectClient, deployment: UUID) -> bool:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import TERMINAL_STATES
    from prefect.client.schemas.sorting import FlowRunSort

    is_open = FlowRunFilterState(type=FlowRunFilterStateType(not_any_=list(TERMINAL_STATES)))
    of_it = FlowRunFilterDeploymentId(any_=[deployment])
    open_runs = FlowRunFilter(deployment_id=of_it, state=is_open)
    return bool(client.read_flow_runs(flow_run_filter=open_runs, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1))


def _version(runbook: Runbook) -> str:
    return runbook.digest[:12]


def _tags(runbook: Runbook) -> list[str]:
    return [TAG, str(runbook.severity), runbook.owner]


def _flat(steps: Iterable[Step]) -> Iterable[Step]:
    for step in steps:
        yield from _flat(step.parallel) if step.parallel else (step,)


def _does(step: Step) -> str:
    checks = f", then checks with `{step.verify.uses}`" if step.verify else ""
    return f"`{step.call.uses}`{checks}" if step.call else ""


def _asks(step: Step) -> str:
    if step.approval is None:
        return ""
    count = f"{step.approval.approvers} of " if step.approval.approvers > 1 else ""
    return count + " or ".join(step.approval.by)
