"""`stopgap new`: write a runbook and its drill to start from."""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stopgap import clock, home
from stopgap.cli import examples
from stopgap.policy import load as policies
from stopgap.problems import ProblemsError, UsageError

if TYPE_CHECKING:
    from stopgap.policy.model import Policy

_NAME = re.compile("[a-z](?:[a-z0-9-]*[a-z0-9])?")

_RUNBOOK = """\
# yaml-language-server: $schema={schema}
apiVersion: stopgap/v1
kind: Runbook
name: {name}
title: {title}
description: Say what is broken, how one sees it, and what this runbook does about it.
owner: {owner}  # a team or a person in policy.yaml
reviewed: {today}
review_every: 90d
severity: SEV3
defaults: {{cluster: {cluster}, namespace: {namespace}}}  # where the steps act; a cluster is a name in policy.yaml

parameters:  # asked for in the form of a manual start; each is a JSON Schema
  replicas: {{type: integer, minimum: 1, maximum: {most}, default: {default}, title: Replicas}}

steps:  # in this order
  - id: scale  # expressions read it as steps.scale.status
    name: Add capacity
    uses: kubernetes.scale
    with: {{deployment: my-deployment, replicas: "${{{{ params.replicas }}}}"}}
    timeout: 5m
    on_failure: continue

  - id: roll_back
    when: "${{{{ steps.scale.status != 'done' }}}}"  # runs only if more capacity was not to be had
    name: Go back to the last good release
    uses: kubernetes.rollback
    with: {{deployment: my-deployment}}
    timeout: 10m
    approval: {{by: [{role}], expires: 15m}}  # a person sees the change and approves it first
    on_failure: stop
"""

_DRILL = """\
# yaml-language-server: $schema={schema}
apiVersion: stopgap/v1
kind: Drill
name: {name}-no-capacity
runbook: {name}
title: {title}, and more capacity is not to be had
given: {{scale: failed, roll_back: done}}
expect:
  steps: {{roll_back: done}}
  decisions:
    roll_back: {{decision: approve, within: 5m, by: {role}}}
"""


EXAMPLES = examples.lines(
    ("stopgap new checkout-latency", "runbooks/checkout-latency.yaml and its drill"),
    ("stopgap new checkout/latency", "the same in a folder of its own"),
)


@click.command("new", epilog=EXAMPLES)
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where to write; the runbooks folder when left out.")
def command(*, name: str, folder: Path | None) -> None:
    """Write a runbook and its drill to start from.

    NAME is small letters, digits and dashes, like checkout-latency; with a folder before it, like checkout/latency, the files lie in
    that folder. Owner, cluster and role come from policy.yaml. An existing file is never overwritten.
    """
    base = folder or home.runbooks_folder()
    place = base / f"{name}.yaml"
    if not all(_NAME.fullmatch(part) for part in name.split("/")):
        raise UsageError(f'"{name}" cannot be a name.\nUse small letters, digits and dashes:  stopgap new checkout-latency')
    drill = place.with_suffix(".drill.yaml")
    there = next((path for path in (place, drill) if path.exists()), None)
    if there:
        raise UsageError(f"{there} is there already, and was left as it is.\nChoose another name, or delete it first.")
    words = _words(name.replace("/", "-"), base)
    for path, text, kind in ((place, _RUNBOOK, "runbook"), (drill, _DRILL, "drill")):
        _write(path, text.format(schema=_schema(path, kind), **words))
    click.echo(f"wrote {os.path.relpath(place)} and {os.path.relpath(drill)}\nEdit them, then:  stopgap lint {os.path.relpath(place)}")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as stream:
        stream.write(text)


def _words(name: str, base: Path) -> dict[str, str | int]:
    policy = _policy(base)
    limits = policy.limits if policy else None
    most = min(30, limits.max_replicas or 30) if limits else 30
    clusters = list(policy.clusters) if policy else []
    roles = [role.name for role in policy.roles.values() if role.people] if policy else []
    return {
        "name": name,
        "title": f"{name.replace('-', ' ').capitalize()} needs a hand",
        "owner": _owner(policy),
        "today": clock.SystemClock().now().date().isoformat(),
        "cluster": clusters[0] if clusters else "prod",
        "namespace": limits.namespaces[0] if limits and limits.namespaces else "default",
        "role": "incident-commander" if not roles or "incident-commander" in roles else roles[0],
        "most": most,
        "default": min(3, most),
    }


def _owner(policy: Policy | None) -> str:
    names = [*policy.teams, *policy.people] if policy else []
    return str(names[0]) if names else getpass.getuser()


def _policy(base: Path) -> Policy | None:
    found = policies.find(base)
    try:
        return policies.load(found) if found else None
    except ProblemsError:
        return None


def _schema(path: Path, kind: str) -> str:
    """Return the way from a file to a `schemas` folder beside the runbooks, where `stopgap schema --write` puts them."""
    return os.path.relpath(Path.cwd() / "schemas" / f"{kind}.schema.json", path.absolute().parent)
