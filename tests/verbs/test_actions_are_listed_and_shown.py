"""`stopgap actions list` and `stopgap actions show`."""

from __future__ import annotations

import json

from click.testing import CliRunner

from stopgap.actions import registry
from stopgap.cli.actions import command
from stopgap.problems import StopgapError


def test_every_action_is_listed_with_its_first_sentence() -> None:
    lines = CliRunner().invoke(command, ["list"]).output.splitlines()
    assert [line.split()[0] for line in lines] == list(registry.names())
    (scale,) = [line for line in lines if line.startswith("kubernetes.scale ")]
    assert scale.split(maxsplit=2)[1:] == ["changes", "Set the number of replicas of a Deployment, and wait until they are ready"]


def test_an_action_is_shown_as_in_the_docs_or_as_its_schema() -> None:
    shown = CliRunner().invoke(command, ["show", "kubernetes.drain"]).output
    assert shown.startswith("### `kubernetes.drain`\n\nCordon a Node and evict its Pods")
    assert "- Outputs: `evicted`: how many Pods were evicted." in shown
    assert json.loads(CliRunner().invoke(command, ["show", "note", "--json"]).output)["title"] == "note"


def test_an_unknown_action_is_answered_with_the_nearest_one() -> None:
    found = CliRunner().invoke(command, ["show", "kubernetes.drane"]).exception
    assert isinstance(found, StopgapError)
    assert str(found).startswith('There is no action "kubernetes.drane". Did you mean "kubernetes.drain"?')
