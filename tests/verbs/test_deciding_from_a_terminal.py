"""`stopgap approve`, `reject` and `abort`: what they say, and the exit code of each way out."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fixtures_engine import carry_out, statuses, texts
from stopgap.incidents.model import RunEnd
from stopgap.testing import ScriptedStage

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from stopgap.engine.work import Work

STEPS = """\
steps:
  - {id: before, uses: note, with: {text: hello}}
  - id: scale
    name: Add capacity
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 5}
    approval: {by: [incident-commander]}
  - {id: after, name: Say so, uses: note, with: {text: "scale was ${{ steps.scale.status }}"}}
"""
STOPGAP = [sys.executable, "-m", "stopgap"]


@pytest.fixture
def waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Work:
    """A run that waits at its gate; nothing else is running."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(bench.folder))
    work = bench.work(STEPS)
    go_on(work)
    return work


def go_on(work: Work) -> None:
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)


def stopgap(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*STOPGAP, *words], input=typed, capture_output=True, text=True, check=False)


def test_an_approval_shows_the_change_and_counts(waiting: Work, bench: Bench) -> None:
    done = stopgap("approve", waiting.id, "--as", "ada", typed="y\n")
    assert done.returncode == 0, done.stderr
    assert "  checkout: 3 -> 5 replicas\n" in done.stdout
    assert done.stdout.endswith("ada (incident-commander) approved scale\n")
    assert "Approve as ada? [y/N]: " in done.stderr
    assert carry_out(waiting) is RunEnd.DONE
    assert bench.replicas() == 5


def test_saying_no_to_the_question_back_decides_nothing(waiting: Work) -> None:
    done = stopgap("reject", waiting.id, "--as", "ada", typed="n\n")
    assert (done.returncode, done.stderr) == (1, f"Stop the run as ada? [y/N]: Nothing was decided; {waiting.id} still waits.\n")
    go_on(waiting)


def test_without_a_terminal_it_must_be_said_that_it_is_meant(waiting: Work) -> None:
    done = stopgap("approve", waiting.id, "--as", "ada")
    assert done.returncode == 2
    assert done.stderr.endswith("Nothing was decided: there is no terminal to ask back on. Say that it is meant with  --yes\n")
    go_on(waiting)


def test_an_answer_to_another_question_is_wrong_use(waiting: Work) -> None:
    done = stopgap("approve", waiting.id, "--as", "ada", "--answer", "done", "--yes")
    sentence = f"{waiting.id} asks something else; it can be answered with: approve, skip this step, stop the run, stop and undo.\n"
    assert (done.returncode, done.stderr) == (2, sentence)


def test_a_refusal_is_a_sentence_and_an_entry(waiting: Work) -> None:
    done = stopgap("approve", waiting.id, "--as", "adda", "--yes")
    assert (done.returncode, done.stderr) == (1, 'Policy knows nobody called "adda". Did you mean ada?\n')
    assert texts(waiting, "gate.refused") == ['Refused an answer of adda by terminal: Policy knows nobody called "adda". Did you mean ada?']


@pytest.mark.parametrize("verb", ["approve", "reject", "abort"])
def test_an_unknown_run_is_wrong_use(waiting: Work, verb: str) -> None:
    done = stopgap(verb, "INC-99.1", "--as", "ada")
    assert (done.returncode, done.stderr) == (2, f'There is no run "INC-99.1". The newest are {waiting.id}.\n')


def test_an_abort_ends_the_run_aborted_before_its_next_step(waiting: Work, bench: Bench) -> None:
    done = stopgap("abort", waiting.id, "--as", "ada", "--reason", "wrong cluster")
    assert (done.returncode, done.stdout) == (0, f"ada ends {waiting.id}: wrong cluster\n")
    assert carry_out(waiting) is RunEnd.ABORTED
    assert bench.replicas() == 3
    assert statuses(waiting.run()) == {"before": "done"}
    again = stopgap("abort", waiting.id)
    assert (again.returncode, again.stderr) == (1, f"{waiting.id} has ended already: aborted.\n")
    late = stopgap("approve", waiting.id, "--as", "ada", "--yes")
    assert (late.returncode, late.stderr) == (
        1,
        f"{waiting.id} has ended (aborted); there is nothing left to decide. See it with:  stopgap timeline show {waiting.id}\n",
    )
    refused = f"Refused an answer of ada by terminal: {waiting.id} has ended (aborted); there is nothing left to decide."
    assert texts(waiting, "gate.refused") == [refused]


def test_ctrl_c_ends_following_with_130(waiting: Work) -> None:
    follow = subprocess.Popen([*STOPGAP, "timeline", "follow", waiting.id], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert follow.stdout
    assert "run.requested" in follow.stdout.readline()
    follow.send_signal(signal.SIGINT)
    _, said = follow.communicate(timeout=60)
    assert (follow.returncode, said) == (130, "\ninterrupted\n")


@pytest.mark.parametrize("words", [["timeline", "show", "RUN"], ["plan", "test-runbook"], ["timeline", "export", "RUN"]])
def test_a_reader_who_leaves_early_is_no_failure(waiting: Work, words: list[str]) -> None:
    shell = " ".join([*STOPGAP, *(waiting.id if word == "RUN" else word for word in words)])
    done = subprocess.run(["bash", "-c", f"{shell} | true; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")
