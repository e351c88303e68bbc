from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from stopgap import schema
from stopgap.cli import main
from stopgap.problems import StopgapError

SLOW = ("prefect", "kubernetes", "boto3", "sqlalchemy", "jsonschema", "pydantic", "fastapi")
ROOT = Path(__file__).parent.parent.parent
POLICY = ROOT / "runbooks" / "policy.yaml"
BROKEN = """\
apiVersion: stopgap/v1
kind: Runbook
name: broken
title: Broken
description: Broken.
owner: ada
severity: SEV3
review_every: 90d
steps:
  - id: say
    uses: note
    with: {txt: hello}
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runbooks").mkdir()
    path = tmp_path / "runbooks" / "broken.yaml"
    path.write_text(BROKEN, encoding="utf-8")
    return path


def _lint(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main.stopgap, ["lint", *arguments], standalone_mode=False)
    assert done.exception is None or isinstance(done.exception, StopgapError), done.exception
    return (done.return_value if done.exception is None else done.exception.exit), done.output


@pytest.mark.usefixtures("broken")
def test_it_prints_each_mistake_with_its_line_and_ends_with_1() -> None:
    code, said = _lint()
    assert code == 1
    assert said.splitlines() == [
        "runbooks/broken.yaml:8:1: warning: nobody has reviewed this runbook yet [overdue-review]  reviewed: " + said.splitlines()[0][-10:],
        "    review_every: 90d",
        "    ^",
        'runbooks/broken.yaml:12:5: note needs "text" [missing-argument]  text: What people shall read in the timeline',
        "        with: {txt: hello}",
        "        ^",
        'runbooks/broken.yaml:12:12: unknown key "txt" [unknown-key]  did you mean "text"?',
        "        with: {txt: hello}",
        "               ^",
        "1 file: 2 mistakes, 1 warning",
    ]


def test_warnings_alone_end_with_0(broken: Path) -> None:
    broken.write_text(BROKEN.replace("txt", "text"), encoding="utf-8")
    code, said = _lint(str(broken))
    assert code == 0
    assert said.splitlines()[-1] == "1 file: no mistake, 1 warning"


def test_a_program_reads_json(broken: Path) -> None:
    code, said = _lint("--format", "json", str(broken))
    read = json.loads(said)
    assert (code, read["files"]) == (1, 1)
    assert read["problems"][2] == {
        "file": "runbooks/broken.yaml",
        "line": 12,
        "column": 12,
        "severity": "error",
        "code": "unknown-key",
        "sentence": 'unknown key "txt"',
        "hint": 'did you mean "text"?',
    }


@pytest.mark.usefixtures("broken")
def test_github_gets_its_own_lines() -> None:
    _, said = _lint("--format", "github")
    assert said.splitlines()[2] == (
        '::error file=runbooks/broken.yaml,line=12,col=12,title=unknown-key::unknown key "txt" [unknown-key]  did you mean "text"?'
    )


@pytest.mark.usefixtures("broken")
def test_a_file_that_does_not_exist_is_wrong_use() -> None:
    done = CliRunner().invoke(main.stopgap, ["lint", "nowhere.yaml"], standalone_mode=False)
    assert str(done.exception) == "There is no file nowhere.yaml.\nName files or folders:  stopgap lint runbooks"
    assert _lint("nowhere.yaml")[0] == 2


def test_two_runbooks_of_one_name_are_a_mistake(broken: Path) -> None:
    broken.write_text(BROKEN.replace("txt", "text").replace("review_every: 90d\n", ""), encoding="utf-8")
    (broken.parent / "again.yaml").write_text(broken.read_text(encoding="utf-8"), encoding="utf-8")
    code, said = _lint()
    assert code == 1
    assert said.splitlines()[0] == (
        'runbooks/broken.yaml:3:7: the runbook "broken" is already in runbooks/again.yaml [duplicate-name]  give it another name'
    )


@pytest.mark.parametrize(
    ("other", "when", "said"),
    [
        (
            "{alertname: Slow, team: web}", "",
            "warning: an alert with alertname=Slow team=web severity=critical fits a trigger of runbooks/again.yaml equally well, and starts neither",
        ),
        (
            "{severity: critical, alertname: Slow}", "",
            "runbooks/again.yaml has the same trigger, so an alert starts neither",
        ),
        ("{alertname: Fast, team: web}", "", ""),
        ("{alertname: Slow}", "", ""),
        ("{alertname: Slow, team: web}", ", when: \"${{ alert.status == 'firing' }}\"", ""),
    ],
)  # fmt: skip
def test_triggers_that_one_alert_may_fit_equally_well_are_named(broken: Path, other: str, when: str, said: str) -> None:
    sound = BROKEN.replace("txt", "text").replace("review_every: 90d\n", "")
    trigger = "triggers:\n  - {source: alertmanager, match: MATCH}\n"
    broken.write_text(sound.replace("name: bro", f"{trigger.replace('MATCH', '{alertname: Slow, severity: critical}')}name: bro", 1))
    changed = trigger.replace("MATCH", f"{other}{when}")
    (broken.parent / "again.yaml").write_text(sound.replace("name: broken", f"{changed}name: again", 1))
    line = f"runbooks/broken.yaml:4:5: {said} [trigger-tie]  make one of them more specific, by one more label or a condition"
    assert [each for each in _lint()[1].splitlines() if "[trigger-tie]" in each] == ([line] if said else [])


def test_a_drill_speaks_of_its_runbooks_steps(broken: Path) -> None:
    broken.write_text(BROKEN.replace("txt", "text").replace("review_every: 90d\n", ""), encoding="utf-8")
    drill = 'apiVersion: stopgap/v1\nkind: Drill\nname: {0}\nrunbook: {0}\ntitle: Broken\ngiven: {{sya: done, "say[0]": done}}\n'
    (broken.parent / "broken.drill.yaml").write_text(drill.format("broken"), encoding="utf-8")
    (broken.parent / "other.drill.yaml").write_text(drill.format("brokn"), encoding="utf-8")
    code, said = _lint()
    assert (code, [line for line in said.splitlines() if line.startswith("runbooks")]) == (
        1,
        [
            'runbooks/broken.drill.yaml:6:9: "broken" has no step "sya" [unknown-step]  did you mean "say"?',
            'runbooks/broken.drill.yaml:6:20: "say" has no list, and so no "say[0]" [unknown-step]  write  say:',
            'runbooks/other.drill.yaml:4:10: warning: there is no runbook "brokn" among these files [unknown-runbook]  did you mean "broken"?',
        ],
    )


def test_a_broken_policy_above_is_reported_with_the_runbook(broken: Path) -> None:
    (broken.parent / "policy.yaml").write_text("apiVersion: stopgap/v1\nkind: Policy\npeople: {ada: {name: Ada}}\n", encoding="utf-8")
    _, said = _lint(str(broken))
    assert 'runbooks/policy.yaml:1:1: the key "roles" is missing [missing-key]  roles: Who may act as what during an incident' in said


@pytest.mark.parametrize("arguments", [["--help"], ["lint", str(ROOT / "runbooks")]], ids=["help", "lint"])
def test_nothing_slow_is_imported(arguments: list[str]) -> None:
    program = f"import sys\nfrom stopgap.cli import main\nmain.run({arguments!r})\nprint([n for n in {SLOW!r} if n in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("name", "policy"), [("cart-slow", ""), ("cart/slow", POLICY.read_text(encoding="utf-8"))], ids=["alone", "policy"]
)
def test_what_new_writes_lints_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, policy: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runbooks").mkdir()
    if policy:
        (tmp_path / "runbooks" / "policy.yaml").write_text(policy, encoding="utf-8")
    done = CliRunner().invoke(main.stopgap, ["new", name], standalone_mode=False)
    assert done.exception is None
    assert _lint() == (0, "3 files: no mistake\n" if policy else "2 files: no mistake\n")


def test_new_never_overwrites(broken: Path) -> None:
    done = CliRunner().invoke(main.stopgap, ["new", "broken"], standalone_mode=False)
    assert str(done.exception) == f"{broken} is there already, and was left as it is.\nChoose another name, or delete it first."
    assert broken.read_text(encoding="utf-8") == BROKEN
    assert [path.name for path in broken.parent.iterdir()] == ["broken.yaml"]


def test_schemas_are_written_for_editors(tmp_path: Path) -> None:
    done = CliRunner().invoke(main.stopgap, ["schema", "--write", str(tmp_path)], standalone_mode=False)
    assert done.exception is None
    assert json.loads((tmp_path / "runbook.schema.json").read_bytes()) == schema.load("runbook")
    assert (tmp_path / "actions" / "kubernetes.scale.schema.json").is_file()


@pytest.mark.parametrize("path", sorted(schema.folder().rglob("*.schema.json")), ids=lambda path: path.name)
def test_every_schema_is_a_schema_and_describes_each_key(path: Path) -> None:
    found = json.loads(path.read_bytes())
    Draft202012Validator.check_schema(found)
    for name, value in found.get("properties", {}).items():
        assert "description" in value, f"{path.name}: {name}"
