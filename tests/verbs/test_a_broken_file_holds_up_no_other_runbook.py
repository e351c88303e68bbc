"""At three in the morning a mistake in one file must not keep the runbook next to it from running; it is named all the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stopgap.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopgap.drills.world import World

RUNBOOKS = Path(__file__).parents[2] / "runbooks"
BROKEN = "apiVersion: stopgap/v1\nkind: Runbook\nname: search-slow\nstepz: []\n"


@pytest.fixture
def folder(tmp_path: Path, stopgap_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Our runbooks and a broken one; nothing is running."""
    assert stopgap_home
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    shutil.copytree(RUNBOOKS, tmp_path / "runbooks")
    (tmp_path / "runbooks" / "search.yaml").write_text(BROKEN)
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(tmp_path / "runbooks"))
    return tmp_path / "runbooks"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().err


def warning(folder: Path) -> str:
    return f"warning: {folder}/search.yaml has 6 mistakes and is left out; see  stopgap lint {folder}/search.yaml\n"


@pytest.mark.parametrize("verb", [["run", "checkout-latency"], ["drill", "checkout-latency"], ["drill", "checkout-latency-night"]])
def test_a_sound_runbook_is_started_and_the_broken_one_is_named(folder: Path, verb: list[str], said: Callable[[], str]) -> None:
    assert run(verb) == 1
    text = said()
    assert text.startswith(warning(folder))
    assert text.splitlines()[-1] == "Start it first:  stopgap up"


def test_a_sound_runbook_is_planned(folder: Path, world: World) -> None:
    world.seed_demo()
    policy = folder / "policy.yaml"
    place = "prod: {kubeconfig: ~/.kube/config, context: prod}"
    policy.write_text(policy.read_text().replace(place, f"prod: {{kubeconfig: {world.kubeconfig}, context: sandbox}}"))
    plan = [sys.executable, "-m", "stopgap", "plan", "checkout-latency"]  # in a process of its own, since its guard stays
    done = subprocess.run(plan, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, warning(folder))
    assert "checkout: 3 -> 9 replicas" in done.stdout


def test_the_broken_one_itself_is_refused_with_its_own_mistakes(folder: Path, said: Callable[[], str]) -> None:
    (folder / "other.yaml").write_text("kind: Runbook\nname: other\n")
    assert run(["run", "search-slow"]) == 1
    lines = said().splitlines()
    assert lines[-1] == f'{folder}/search.yaml:4:1: unknown key "stepz" [unknown-key]  did you mean "steps"?'
    assert all(line.startswith(f"{folder}/search.yaml:") for line in lines)


def test_a_name_that_two_files_have_is_refused(folder: Path, said: Callable[[], str]) -> None:
    (folder / "search.yaml").write_text((folder / "checkout" / "latency.yaml").read_text())
    assert run(["run", "checkout-latency"]) == 1
    assert said() == (
        f'{folder}/search.yaml:4:7: the runbook "checkout-latency" is already in {folder}/checkout/latency.yaml [duplicate-name]'
        "  give it another name\n"
    )


@pytest.mark.parametrize("verb", ["plan", "run", "drill"])
def test_a_broken_policy_is_told_before_anything_starts(folder: Path, verb: str, said: Callable[[], str]) -> None:
    (folder / "search.yaml").unlink()
    policy = folder / "policy.yaml"
    policy.write_text(policy.read_text().replace("holders: [ada]", "holders: [adda]"))
    assert run([verb, "checkout-latency"]) == 1
    assert said() == f'{policy}:17:34: "adda" is nobody under "people" [unknown-person]  did you mean "ada"?\n'
    policy.unlink()
    assert run([verb, "checkout-latency"]) == 1
    assert said().endswith("policy.yaml:1:1: cannot be read: No such file or directory [unreadable]\n")
