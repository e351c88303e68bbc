"""`stopgap notices test` sends a real message and says what came back, and `lint` warns of secrets in addresses; neither shows one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from test_people_are_told import TOKEN, Receiver, receiver

from stopgap.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., "Said"]
__all__ = ["receiver"]
POLICY = """\
apiVersion: stopgap/v1
kind: Policy
people:
  ada: {name: Ada, notify: ["${ADA_NOTIFY}"], page: ["${ADA_PAGE}"]}
  ben: {name: Ben}
roles: {incident-commander: {holders: [ada, ben]}}
notify:
  oncall-chat: {url: "file:chat"}
"""


@pytest.fixture
def folder(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "chat").write_text(f"{receiver.url}\n")
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(tmp_path))
    return tmp_path


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*words: str) -> Said:
        code = main.run(list(words))
        found = capsys.readouterr()
        return Said(code, found.out, found.err)

    return run


def test_a_message_is_sent_to_whom_is_named_and_it_says_what_came_back(folder: Path, receiver: Receiver, run: Run) -> None:
    assert folder
    done = run("notices", "test", "oncall-chat")
    assert (done.code, done.out) == (0, "oncall-chat: taken; look whether it arrived\n")
    assert [(each["title"], each["message"]) for each in receiver.got] == [
        ("stopgap: a test", "This is a test of stopgap's notices. Nothing has happened, and nobody needs to do anything.")
    ]


def test_what_was_not_taken_is_said_without_the_address(
    folder: Path, receiver: Receiver, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder
    receiver.answer = 500
    monkeypatch.setenv("ADA_NOTIFY", receiver.url)
    done = run("notices", "test", "--page", "--json")
    said = {each["name"]: each for each in json.loads(done.out)[::-1]}
    assert done.code == 1
    assert set(said) == {"ada", "oncall-chat"}
    assert not said["oncall-chat"]["taken"]
    assert "500" in said["oncall-chat"]["why"]
    assert [each["why"] for each in json.loads(done.out) if "ADA_PAGE" in each["why"]] == ["${ADA_PAGE} is not set here"]
    assert TOKEN not in done.out + done.err


def test_who_has_no_address_is_a_mistake(folder: Path, run: Run) -> None:
    assert folder
    done = run("notices", "test", "oncall-chatt")
    assert done.code == 2
    assert 'names no address for "oncall-chatt" under people or notify. Did you mean "oncall-chat"?' in done.err


@pytest.mark.parametrize(
    ("address", "is_secret"),
    [
        ("slack://bot@T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", True),
        ("mailto://stopgap:hunter2@mail.example.com?to=oncall@example.com", True),
        ("tgram://123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/", True),
        ("mailto://${MAIL_USER}:${MAIL_PASSWORD}@mail.example.com?to=oncall@example.com", False),
        ("json://hooks-production-eu-west.example.com:8080/stopgap", False),
        ("slack://${SLACK_TOKENS}/#incidents", False),
        ("file:secrets/oncall-chat-2026-production", False),
        ("${ONCALL_CHAT}", False),
    ],
)
def test_an_address_with_a_secret_in_it_is_warned_of(folder: Path, run: Run, address: str, is_secret: bool) -> None:  # noqa: FBT001  a case
    (folder / "policy.yaml").write_text(POLICY.replace("file:chat", address))
    done = run("lint", str(folder / "policy.yaml"))
    assert done.code == 0
    warning = (
        "policy.yaml:8:22: warning: this address seems to hold a secret, and everybody who reads this file sees it [literal-secret]  "
        'keep it elsewhere: "${NAME}" in the environment, or file:PATH'
    )
    assert (warning in done.out) is is_secret
