"""Trackers, status pages, bridges, logs, traces and metrics in policy.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from stopgap.policy import load
from stopgap.policy.around import KINDS
from stopgap.problems import ProblemsError

HEAD = "apiVersion: stopgap/v1\nkind: Policy\npeople: {ada: {name: Ada}}\nroles: {incident-commander: {holders: [ada]}}\n"


def said(tmp_path: Path, text: str) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(HEAD + text)
    with pytest.raises(ProblemsError) as caught:
        load.load(path)
    return str(caught.value).replace(f"{path}:", "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("trackers: {it: {kind: jiraa}}", '5:23: "jiraa" is no kind of tracker [unknown-kind]  did you mean "jira"?'),
        ("bridges: {it: {kind: teams}}", '5:22: "teams" is no kind of bridge [unknown-kind]  the kinds are jitsi or zoom'),
        ("status_pages: {it: {kind: file}}", '5:16: a status page of kind file needs "file" [missing-key]'),
        (
            "metrics: {it: {kind: cloudwatch, account: prod, secret: {env: A}}}",
            '5:49: a source of metrics of kind cloudwatch does not take "secret" [unknown-key]  it takes kind, account and link',
        ),
        ("logs: {it: {kind: splunk, url: splunk, secret: {env: A}}}", '"splunk" is not an address'),
        ("logs: {it: {kind: splunk, url: https://s, secret: abc}}", "must be a mapping, not the text"),
        ("traces: {it: {url: https://j}}", '"kind"'),
        ("trackers: {it: {kind: jira, urll: https://s}}", 'unknown key "urll" [unknown-key]  did you mean "url"?'),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in said(tmp_path, text)


def test_the_policy_of_the_docs_has_every_kind_and_no_mistake(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "around-the-fix.md"
    path = tmp_path / "policy.yaml"
    path.write_text(page.read_text().split("```yaml\n")[1].split("```")[0])
    around = load.load(path).around
    assert {purpose: {site.kind for site in around[purpose].values()} for purpose in KINDS} == {
        name: set(kinds) for name, kinds in KINDS.items()
    }


def test_a_service_becomes_a_value_and_its_files_begin_at_the_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        f"{HEAD}trackers: {{it: {{kind: servicenow, url: https://s/, user: bot, secret: {{file: token}}, done: '7'}}}}\nbridges: {{it: {{kind: jitsi}}}}"
    )
    around = load.load(path).around
    tracker, bridge = around["trackers"]["it"], around["bridges"]["it"]
    assert (tracker.kind, tracker.url, tracker.user, tracker.settings) == ("servicenow", "https://s", "bot", {"done": "7"})
    assert tracker.secret
    assert tracker.secret.file == tmp_path / "token"
    assert bridge.url == KINDS["bridges"]["jitsi"].url
