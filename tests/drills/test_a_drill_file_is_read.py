from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stopgap.drills import scenario as scenarios
from stopgap.problems import ProblemsError
from stopgap.runbook import load as runbooks

if TYPE_CHECKING:
    from pathlib import Path

RUNBOOK = """\
apiVersion: stopgap/v1
kind: Runbook
name: test-runbook
title: A test
description: A runbook of the tests.
owner: oncall
severity: SEV3
parameters: {count: {type: integer, default: 1}}
steps:
  - {id: tell, name: Tell, uses: note, with: {text: hello}}
  - {id: ask, name: Ask, uses: manual, with: {instructions: look}}
"""
HEAD = "apiVersion: stopgap/v1\nkind: Drill\nname: a-drill\nrunbook: test-runbook\ntitle: It burns.\n"


def mistakes(folder: Path, drill: str) -> list[str]:
    (folder / "it.yaml").write_text(RUNBOOK)
    path = folder / "it.drill.yaml"
    path.write_text(drill)
    with pytest.raises(ProblemsError) as caught:
        scenarios.load(path, runbook=runbooks.load(folder / "it.yaml"))
    return [str(problem).removeprefix(f"{problem.file}:") for problem in caught.value.problems]


def test_every_name_the_runbook_does_not_have_is_named_at_its_place(tmp_path: Path) -> None:
    drill = HEAD + "parameters: {cuont: 2}\ngiven: {tel: done}\nexpect: {steps: {aks: done}, decisions: {gate: {decision: approve}}}\n"
    assert mistakes(tmp_path, drill) == [
        '6:14: test-runbook has no parameter "cuont" [unknown-parameter]  did you mean "count"?',
        '7:9: "test-runbook" has no step "tel" [unknown-step]  did you mean "tell"?',
        '8:18: "test-runbook" has no step "aks" [unknown-step]  did you mean "ask"?',
        '8:42: "test-runbook" has no step "gate" [unknown-step]  the steps are tell and ask',
    ]


def test_an_entry_of_a_step_without_a_list_is_a_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path, HEAD + 'given: {"tell[0]": done}\n') == [
        '6:9: "tell" has no list, and so no "tell[0]" [unknown-step]  write  tell:',
    ]


def test_a_decision_that_nobody_is_asked_for_is_a_mistake(tmp_path: Path) -> None:
    drill = HEAD + "given: {ask: skipped}\nexpect: {decisions: {ask: {decision: approve}}}\n"
    assert mistakes(tmp_path, drill) == [
        '7:22: nobody is asked about "ask", because it is given as skipped [never-asked]  give it done or failed, so that the gate is asked first'
    ]


def test_what_the_schema_refuses_is_told_in_words(tmp_path: Path) -> None:
    drill = HEAD + "given: {tell: maybe}\nexpects: {}\n"
    assert mistakes(tmp_path, drill) == [
        '6:15: "tell" must be done, failed, skipped, rejected, expired or unknown, not the text "maybe" [not-a-choice]',
        '7:1: unknown key "expects" [unknown-key]  did you mean "expect"?',
    ]


def test_a_drill_of_another_runbook_is_refused(tmp_path: Path) -> None:
    assert mistakes(tmp_path, HEAD.replace("test-runbook", "other")) == [
        '4:10: this drill is for the runbook "other", not "test-runbook" [unknown-runbook]'
    ]


def test_the_drills_of_a_folder_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "it.drill.yaml").write_text(HEAD)
    (tmp_path / "it.yaml").write_text(RUNBOOK)
    assert list(scenarios.load_all(tmp_path)) == ["a-drill"]
    (tmp_path / "wrong.drill.yaml").write_text("kind: Drill\n")
    with pytest.raises(ProblemsError, match='the key "apiVersion" is missing'):
        scenarios.load_all(tmp_path)
