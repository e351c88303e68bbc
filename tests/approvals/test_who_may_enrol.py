"""Enrolling: the first person, everybody after, and two at once."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pyotp
import pytest
from test_a_gate_is_decided_once import POLICY

from stopgap.approvals import responders, sealing
from stopgap.policy.model import PersonId

if TYPE_CHECKING:
    from pathlib import Path

    from stopgap.timeline.entry import Timeline

ADA, BEN, CHEN = PersonId("ada"), PersonId("ben"), PersonId("chen")
RULED = replace(POLICY, administrators=(ADA,))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STOPGAP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STOPGAP_SECRET_KEY", raising=False)
    return tmp_path / "home"


def enrol(timeline: Timeline, person: PersonId, by: str = "root") -> responders.Enrolment:
    return responders.enrol(timeline, responders.roll(timeline), person=person, by=by, secret=pyotp.random_base32())


def test_the_first_is_an_administrator_and_needs_no_code(any_timeline: Timeline) -> None:
    found = responders.roll(any_timeline)
    assert not responders.require_allowed(found, RULED, person=ADA, by="root")
    with pytest.raises(responders.NotAllowedError) as caught:
        responders.require_allowed(found, RULED, person=BEN, by="root")
    assert str(caught.value) == (
        "The first to be enrolled is an administrator of policy.yaml: ada.\nEnrol them first:  stopgap responder enrol ada"
    )


def test_afterwards_an_administrator_or_oneself_must_prove_it(any_timeline: Timeline) -> None:
    enrol(any_timeline, ADA)
    enrol(any_timeline, BEN, by="ada")
    found = responders.roll(any_timeline)
    assert responders.require_allowed(found, RULED, person=CHEN, by="ada")
    assert responders.require_allowed(found, RULED, person=BEN, by="ben")
    assert responders.require_allowed(found, RULED, person=ADA, by="ada")
    for person, by in ((CHEN, "ben"), (ADA, "ben"), (CHEN, "chen"), (ADA, "root")):
        with pytest.raises(responders.NotAllowedError):
            responders.require_allowed(found, RULED, person=person, by=by)


def test_revoking_the_last_administrator_lets_nobody_in_without_a_code(any_timeline: Timeline) -> None:
    enrol(any_timeline, ADA)
    responders.revoke(any_timeline, responders.roll(any_timeline), person=ADA, by="ada")
    with pytest.raises(responders.NotAllowedError) as caught:
        responders.require_allowed(responders.roll(any_timeline), RULED, person=ADA, by="ada")
    assert str(caught.value) == (
        "Changing ada's enrolment needs the code of an enrolled administrator, and none is enrolled.\n"
        'Name another under "administrators" in policy.yaml, and enrol them:  stopgap responder enrol NAME'
    )
    another = replace(POLICY, administrators=(BEN,))
    assert not responders.require_allowed(responders.roll(any_timeline), another, person=BEN, by="root")


def test_without_administrators_only_the_very_first_needs_no_code(any_timeline: Timeline) -> None:
    assert not responders.require_allowed(responders.roll(any_timeline), POLICY, person=BEN, by="root")
    enrol(any_timeline, BEN)
    with pytest.raises(responders.NotAllowedError):
        responders.require_allowed(responders.roll(any_timeline), POLICY, person=ADA, by="root")


def test_of_two_who_enrol_at_once_one_wins(any_timeline: Timeline) -> None:
    found = responders.roll(any_timeline)
    first = responders.enrol(any_timeline, found, person=ADA, by="root", secret=pyotp.random_base32())
    with pytest.raises(responders.ChangedMeanwhileError):
        responders.enrol(any_timeline, found, person=ADA, by="root", secret=pyotp.random_base32())
    assert responders.roll(any_timeline).enrolled == {ADA: first}


def test_who_enrolled_whom_is_on_a_chain_of_its_own(any_timeline: Timeline) -> None:
    enrol(any_timeline, ADA)
    enrol(any_timeline, ADA, by="ada")
    responders.revoke(any_timeline, responders.roll(any_timeline), person=ADA, by="ada")
    entries = any_timeline.of_chain("RESPONDERS")
    assert [entry.text for entry in entries] == [
        "root enrolled ada for one-time codes",
        "ada enrolled ada for one-time codes anew",
        "ada revoked the one-time codes of ada",
    ]
    assert [set(entry.data) for entry in entries] == [{"person", "enrolment"}] * 3
    assert any_timeline.chains() == ()  # it is no incident


def test_the_key_is_a_file_of_ones_own(any_timeline: Timeline, place: Path) -> None:
    enrol(any_timeline, ADA)
    file = place / "secret.key"
    assert os.stat(file).st_mode & 0o777 == 0o600  # noqa: PTH116  the mode of the file itself
    file.chmod(0o640)
    with pytest.raises(sealing.SecretKeyError) as caught:
        sealing.load_key()
    assert str(caught.value) == f"{file} can be read by others, so it is not used. Make it yours alone:  chmod 600 {file}"


def test_a_lost_key_is_said_and_not_replaced(any_timeline: Timeline, place: Path) -> None:
    enrol(any_timeline, ADA)
    (place / "secret.key").unlink()
    with pytest.raises(sealing.SecretKeyError) as caught:
        sealing.load_key()
    assert str(caught.value).startswith(f"The key that seals the secrets of one-time codes is not here: {place / 'secret.key'}\n")
