"""`command.run` with programs that really run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from fixtures_cluster import carry_out, context_in
from stopgap.actions.command import CommandRun
from stopgap.actions.contract import InDoubtError, PermanentError, Probe
from stopgap.policy import commands
from stopgap.policy.model import Policy
from stopgap.testing.actions import ActionContract, Scene

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = (sys.executable, "-I", "-S", "-c")
TOUCH = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch()"
REMOVE = "import pathlib, sys; pathlib.Path(sys.argv[1]).unlink()"


def allowing(*codes: str) -> Policy:
    return Policy(commands=(*((*PYTHON, code) for code in codes), *((*PYTHON, code, "/*") for code in codes)))


class TestCommand(ActionContract):
    @pytest.fixture
    def scene(self, tmp_path: Path) -> Scene:
        file = str(tmp_path / "made")
        return Scene(
            action=CommandRun(argv=[*PYTHON, TOUCH, file], undo_argv=[*PYTHON, REMOVE, file]),
            policy=allowing(TOUCH, REMOVE),
            look=lambda: sorted(path.name for path in tmp_path.iterdir()),
            adds="a program does what it does each time",
            has_marks=False,
            meddle=lambda: None,
            never=dict.fromkeys((Probe.DONE, Probe.NOT_DONE, Probe.IN_PROGRESS), "a program leaves no mark"),
        )


def run(code: str, *, seconds: float = 30) -> str:
    outcome = carry_out(CommandRun(argv=[*PYTHON, code]), context_in(allowing(code), seconds=seconds))[1]
    return str(outcome.data["said"])


def test_nothing_of_our_environment_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPGAP_SECRET", "hidden")
    assert run("import os; print(sorted(os.environ), os.getcwd())") == "['LANG', 'PATH'] /"


def test_a_status_that_is_not_expected_fails_the_step_and_quotes_what_it_said() -> None:
    with pytest.raises(PermanentError, match=r"ended with 3 instead of 0: no such queue$"):
        run("import sys; print('no such queue'); sys.exit(3)")


def test_one_that_does_not_end_in_time_is_killed_and_in_doubt() -> None:
    with pytest.raises(InDoubtError, match=r"had not ended when the step's deadline passed, and was killed\.$"):
        run("import time; time.sleep(60)", seconds=0.5)


def test_nothing_runs_unless_policy_allows_it() -> None:
    step = CommandRun(argv=["/bin/echo", "$(id)"])
    with pytest.raises(PermanentError) as caught:
        step.plan(context_in(Policy()))
    assert str(caught.value) == "policy.yaml does not allow /bin/echo '$(id)'. It allows: nothing. Nothing was started."
    change = step.plan(context_in(Policy(commands=(("/bin/echo", "*"),))))
    with pytest.raises(PermanentError, match=r"^policy\.yaml does not allow"):
        step.apply(context_in(Policy()), change)
    assert step.apply(context_in(Policy(commands=(("/bin/echo", "*"),))), change).data == {"said": "$(id)"}


@pytest.mark.parametrize(
    ("argv", "fits"),
    [
        (["/bin/a", "--to", "eu-west"], True),
        (["/bin/a", "--to", "--config=/etc/shadow"], False),
        (["/bin/a", "--to"], False),
        (["/bin/a", "--to", "eu-west", "more"], False),
        (["/bin/b", "--to", "eu-west"], False),
        (["a", "--to", "eu-west"], False),
        (["/bin/a", "--from", "eu-west"], False),
    ],
)
def test_a_pattern_stands_for_each_argument_and_for_no_option(argv: list[str], *, fits: bool) -> None:
    assert commands.allowed(argv, [("/bin/a", "--to", "*")]) is fits
