"""What lies under deploy/ is valid, and starts stopgap with options that it has."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from stopgap.cli import up, worker

if TYPE_CHECKING:
    import click

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
VERBS: dict[str, click.Command] = {"up": up.command, "worker": worker.command}


def manifest() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / "worker.yaml").read_text()))


def parses(words: list[str]) -> None:
    """Parse as the verb itself would; click says what it does not know."""
    verb = VERBS[words[0]]
    verb.make_context(words[0], list(words[1:]))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_verb_with_options_that_it_has(unit: Path) -> None:
    (line,) = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    program, *words = shlex.split(line.removeprefix("ExecStart="))
    assert program == "/opt/stopgap/bin/stopgap"
    parses(words)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    installed = tmp_path / unit.name
    installed.write_text(unit.read_text().replace("/opt/stopgap/bin/stopgap", sys.executable))
    found = subprocess.run(["systemd-analyze", "verify", "--man=no", str(installed)], capture_output=True, text=True, check=False)
    assert [line for line in found.stderr.splitlines() if unit.name in line] == []
    assert found.returncode == 0


def test_the_manifest_starts_a_worker_with_options_that_it_has() -> None:
    (deployment,) = [item for item in manifest() if item["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == "stopgap"
    parses(container["args"][1:])


def test_a_control_plane_takes_the_manifest(real_kubeconfig: Path) -> None:
    from kubernetes import client, config, utils

    untyped: Any = config
    with untyped.new_client_from_config(str(real_kubeconfig)) as api:
        groups: Any = client.ApisApi(api).get_api_versions()
        known = {version.group_version for group in groups.groups for version in group.versions}
        for item in manifest():
            if item["apiVersion"] == "policy/v1" and "policy/v1" not in known:  # before Kubernetes 1.21, with the same fields
                older: Any = {**item, "apiVersion": "policy/v1beta1"}
                client.CustomObjectsApi(api).create_namespaced_custom_object(
                    "policy", "v1beta1", "default", "poddisruptionbudgets", older, dry_run="All"
                )
            else:
                utils.create_from_dict(api, item, namespace="default", dry_run="All")
