"""`stopgap incident update | page | task | attach | file | restrict` from a terminal."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from fixtures_pages import password
from stopgap.cli import main
from stopgap.incidents import files
from stopgap.timeline.files import ChangedFileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fixtures_alerts import Desk

    Say = Callable[..., tuple[int, str]]

PEOPLE = """\
apiVersion: stopgap/v1
kind: Policy
people: {ada: {name: Ada Amari}, ben: {name: Ben Brandt}}
roles: {incident-commander: {holders: [ada]}, communications-lead: {holders: [ben]}}
approvals: {require_code: false}
on_call: {incident-commander: {people: [ada], starts: "2026-01-01T00:00:00Z"}}
"""


@pytest.fixture
def say(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Say:
    """Say something about INC-1, an incident that was declared by hand."""
    monkeypatch.setenv("STOPGAP_RUNBOOKS", str(desk.folder))
    monkeypatch.setenv("STOPGAP_PERSON", "ada")
    (desk.folder / "policy.yaml").write_text(PEOPLE)

    def said(*words: str) -> tuple[int, str]:
        code = main.run(list(words[1:]) if words[0] == ".." else ["incident", *words])
        heard = capsysbinary.readouterr()
        return code, (heard.out + heard.err).decode(errors="replace")

    said("declare", "Shop")
    return said


def test_a_task_is_added_listed_and_done_once(say: Say) -> None:
    assert say("task", "add", "INC-1", "ask the bank", "--owner", "ben", "--due", "30m")[1].startswith("T1 for ben, by ")
    assert say("task", "add", "INC-1", "look")[1] == "T2 for nobody yet: look\n"
    shown = say("show", "INC-1")[1].splitlines()
    assert shown[2:4] == ["task   T1 (ben): ask the bank", "task   T2 (nobody yet): look"]
    assert shown[4].startswith("the next update is due at 20")
    assert say("task", "done", "INC-1", "T1") == (0, "ada has done T1: ask the bank\n")
    assert say("task", "done", "INC-1", "T1", "--as", "ben") == (0, "ada has done T1: ask the bank\n")
    assert say("task", "list", "INC-1") == (0, "T2\tnobody yet\topen\tlook\n")
    assert [each["task"] for each in json.loads(say("task", "list", "INC-1", "--all", "--json")[1])] == ["T1", "T2"]
    code, text = say("task", "done", "INC-1", "T9")
    assert (code, text) == (2, 'INC-1 has no task "T9"; open are T2. See them:  stopgap incident task list INC-1\n')
    assert say("task", "add", "INC-1", "x", "--owner", "bob") == (2, 'policy.yaml knows nobody called "bob". It knows ada, ben.\n')
    assert say("task", "add", "INC-1", "x", "--due", "soon")[0] == 2
    assert say("task", "add", "INC-1", "x", "--due", "999999999999d")[0] == 2


def test_a_file_is_kept_with_its_hash_and_comes_back_as_it_was(say: Say, desk: Desk, tmp_path: Path) -> None:
    content = b"<script>alert(1)</script>\x00\xff"
    file = tmp_path / 'a "graph".html'
    file.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    assert say("attach", "INC-1", str(file)) == (0, f'ada attached a "graph".html (27 bytes, SHA-256 {sha256[:16]}...)\n')
    say("attach", "INC-1", str(file))
    assert [entry.data["sha256"] for entry in desk.timeline.of_kind("attachment.added")] == [sha256]
    assert say("file", "INC-1", 'a "graph".html') == (0, content.decode(errors="replace"))
    assert say("file", "INC-1", sha256, "--out", str(tmp_path / "out")) == (0, "")
    assert (tmp_path / "out").read_bytes() == content
    assert say("file", "INC-1", sha256, "--out", str(tmp_path))[0] == 2
    assert say("file", "INC-1", "b") == (2, 'INC-1 has no file "b"; it has a "graph".html.\n')
    url = f"{desk.url}/incidents/INC-1/files/{sha256}"
    assert httpx.get(url, trust_env=False).status_code == 401
    got = httpx.get(url, auth=("stopgap", password()), trust_env=False)
    assert (got.content, got.headers["content-type"]) == (content, "application/octet-stream")
    assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20%22graph%22.html"
    assert httpx.get(url[:-1], auth=("stopgap", password()), trust_env=False).status_code == 404
    with desk.timeline.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE attachment SET content = 'x'")
    with pytest.raises(ChangedFileError):
        desk.timeline.files.read(sha256)


def test_a_file_that_is_too_big_is_not_kept(say: Say, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 10)
    (tmp_path / "big").write_bytes(b"x" * 11)
    code, text = say("attach", "INC-1", str(tmp_path / "big"))
    assert code == 2
    assert "has more than 10 bytes, which is the most that is kept." in text
    assert say("attach", "INC-1", str(tmp_path))[0] == 2
    assert desk.timeline.of_kind("attachment.added") == ()


def test_an_update_for_the_public_waits_for_the_communications_role(say: Say, desk: Desk) -> None:
    assert say("update", "INC-1", "We look.", "--eta", "20m") == (0, "ada tells everybody inside: We look.\n")
    code, text = say("update", "INC-1", "Payments may fail.", "--audience", "public")
    assert (code, text) == (0, "INC-1.u1 waits for communications-lead (ben). Approve it:  stopgap approve INC-1.u1\n")
    assert main.run(["approve", "INC-1.u1", "--yes", "--as", "ada"]) == 1
    assert main.run(["approve", "INC-1.u1", "--yes", "--as", "ben"]) == 0
    assert [entry.actor for entry in desk.timeline.of_kind("gate.decided")] == ["ben"]
    assert [entry.data["audience"] for entry in desk.timeline.of_kind("update.sent")] == ["internal"]  # a worker sends the other
    (desk.folder / "policy.yaml").write_text(PEOPLE.replace("communications-lead", "technical-lead"))
    code, text = say("update", "INC-1", "x", "--audience", "public")
    assert (code, text.splitlines()[-1]) == (1, "Add it under roles in policy.yaml:  communications-lead: {holders: [ada]}")


def test_a_page_is_asked_for_and_acknowledged(say: Say, desk: Desk) -> None:
    assert say("page", "INC-1", "incident-commander", "--reason", "slow") == (
        0,
        "INC-1.p1: incident-commander is to be paged: slow. First: ada\n",
    )
    assert say("page", "INC-1", "incident-comander") == (
        2,
        'policy.yaml has no role "incident-comander". Did you mean incident-commander?\n',
    )
    assert say("ack", "INC-1") == (0, "ada looks after INC-1\n")
    assert [entry.actor for entry in desk.timeline.of_kind("page.acknowledged")] == ["ada"]
    (desk.folder / "policy.yaml").write_text("broken: [")
    assert say("ack", "INC-1", "--as", "ben") == (0, "ben looks after INC-1\n")


def test_a_restricted_incident_is_listed_without_its_title_to_others(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    say("declare", "Somebody reads our mail", "--restricted")
    assert "Somebody reads our mail" in say("list")[1]  # ada commands
    monkeypatch.setenv("STOPGAP_PERSON", "ben")
    assert "(restricted)" in (heard := say("list")[1])
    assert "mail" not in heard
    assert "mail" not in say("..", "timeline", "show")[1]
    monkeypatch.setenv("STOPGAP_PERSON", "ada")
    assert say("restrict", "INC-1", "--reason", "theirs too") == (0, "ada restricted INC-1: theirs too\n")
    assert say("restrict", "INC-1", "--lift") == (0, "ada opened INC-1 to everybody\n")
