"""`stopgap responder`: who is enrolled how, what is shown, and what is refused."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyotp
import pytest

from stopgap.approvals import codes

if TYPE_CHECKING:
    from pathlib import Path

STOPGAP = [sys.executable, "-m", "stopgap", "responder"]
POLICY = """\
apiVersion: stopgap/v1
kind: Policy
people: {ada: {name: Ada Amari}, ben: {name: Ben Brandt}}
roles: {incident-commander: {holders: [ada, ben]}}
administrators: [ada]
"""


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, stopgap_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stopgap_home
    (tmp_path / "policy.yaml").write_text(POLICY)
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(tmp_path))
    monkeypatch.setenv("STOPGAP_PERSON", "root")


def responder(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*STOPGAP, *words], input=typed, capture_output=True, text=True, check=False)


def enrol(*words: str, typed: str = "") -> tuple[pyotp.TOTP, int, str]:
    """Enrol somebody as a script would; their app, the exit code and what was said."""
    command = [*STOPGAP, "enrol", *words, "--code-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(typed)
        child.stdin.flush()
        said = ""
        while "secret=" not in said:
            line = child.stdout.readline()
            assert line, said
            said += line
        app = pyotp.parse_uri(said[said.index("otpauth:") :].strip())
        assert isinstance(app, pyotp.TOTP)
        rest, _ = child.communicate(app.now() + "\n")
        return app, child.returncode, said + rest


def code(app: pyotp.TOTP, *, later: int = 1) -> str:
    return app.at(datetime.now(UTC) + timedelta(seconds=later * codes.STEP))


def test_the_first_administrator_is_enrolled_and_the_code_is_used_up() -> None:
    app, exit_code, said = enrol("ada")
    assert exit_code == 0, said
    assert re.search(r"otpauth://totp/stopgap:ada\?secret=[A-Z2-7]{32}&issuer=stopgap\n", said)
    assert said.endswith("ada is enrolled. The code you just typed is used up; the next one counts.\n")
    used = responder("test", "ada", "--code-stdin", typed=app.now() + "\n")
    assert (used.returncode, used.stderr) == (
        1,
        "This one-time code of ada was used before, and each counts once. Wait for the next one.\n",
    )
    right = responder("test", "ada", "--code-stdin", typed=code(app) + "\n")
    assert (right.returncode, right.stdout) == (0, "That is a right code of ada. It is used up; the next one counts.\n")
    listed = json.loads(responder("list", "--json").stdout)
    assert [(each["person"], each["by"]) for each in listed] == [("ada", "root"), ("ben", None)]
    assert responder("list").stdout.splitlines()[1] == "ben\tnot enrolled"


def test_everybody_after_needs_the_administrators_code() -> None:
    app, _, _ = enrol("ada")
    refused = responder("enrol", "ben", "--code-stdin")
    assert (refused.returncode, refused.stderr) == (
        1,
        "root may not change ben's enrolment; ada may, with their code.\nSay who does it:  stopgap responder ... ben --as ada\n",
    )
    wrong = responder("enrol", "ben", "--as", "ada", "--code-stdin", typed=app.at(0) + "\n")
    assert (wrong.returncode, wrong.stderr) == (
        1,
        "The one-time code is not the one of ada at that moment. Is the telephone's clock right?\n",
    )
    _, exit_code, said = enrol("ben", "--as", "ada", typed=code(app) + "\n")
    assert exit_code == 0, said
    gone = responder("revoke", "ada", "--as", "ben", "--code-stdin")
    assert gone.returncode == 1
    assert gone.stderr.startswith("ben may not change ada's enrolment")


def test_a_revoked_persons_codes_count_no_more() -> None:
    app, _, _ = enrol("ada")
    assert responder("revoke", "ada", "--as", "ada", "--code-stdin", typed=code(app) + "\n").returncode == 0
    gone = responder("test", "ada", "--code-stdin", typed=code(app) + "\n")
    assert (gone.returncode, gone.stderr) == (2, "ada is not enrolled. See who is:  stopgap responder list\n")


def test_nobody_is_enrolled_whose_app_shows_another_code() -> None:
    done = responder("enrol", "ada", "--code-stdin", typed="12\n")
    assert done.returncode == 1
    assert done.stderr == (
        "That is not the code of this secret now. Is the telephone's clock right?\n"
        "ada is not enrolled: no code of the new secret came back. Nothing has changed.\n"
    )
    assert json.loads(responder("list", "--json").stdout)[0]["since"] is None


def test_a_stranger_is_not_enrolled() -> None:
    done = responder("enrol", "adda", "--code-stdin")
    assert (done.returncode, done.stderr) == (2, 'policy.yaml knows nobody called "adda". Did you mean "ada"?\n')


def test_a_person_sees_a_picture_and_types_unseen() -> None:
    """On a terminal: the QR code and the key are shown, the code is not."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*STOPGAP, "enrol", "ada"], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as child:
        os.close(theirs)
        said = b""
        while b"One-time code of ada" not in said:
            said += os.read(ours, 4096)
        key = re.search(r"key  ((?:[A-Z2-7]{4} ?){8})", said.decode())
        assert key
        typed = pyotp.TOTP(key.group(1).replace(" ", "")).now()
        os.write(ours, typed.encode() + b"\n")
        rest = b""
        try:
            while chunk := os.read(ours, 4096):
                rest += chunk
        except OSError:  # how a terminal says that the other side has left
            os.close(ours)
    assert child.returncode == 0
    assert "█".encode() in said
    assert b"ada is enrolled." in rest
    assert typed.encode() not in rest
