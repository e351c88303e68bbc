"""The incident pages are read by whoever has a reader's password, and by nobody else."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import httpx
import pytest

from fixtures_pages import password, rich_incident, write
from stopgap import home
from stopgap.web import readers

if TYPE_CHECKING:
    from fixtures_alerts import Desk

PATHS = ("/incidents", "/incidents/INC-1", "/incidents/events", "/incidents/INC-1/events", "/incidents/INC-1?all=1")
READERS = """\
incidents:
  readers:
    oncall: {secret: {env: TEST_READER}}
    security: {secret: {env: TEST_SECURITY}, roles: [incident-commander]}
"""


def get(desk: Desk, path: str, *, auth: tuple[str, str] | None = None, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.get(desk.url + path, auth=auth, headers=headers, trust_env=False, timeout=20)


@pytest.mark.parametrize("path", PATHS)
def test_nobody_gets_in_without_a_password(desk: Desk, path: str) -> None:
    rich_incident(desk.timeline)
    wrong: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic !!"},
        {"Authorization": "Basic Og=="},
    ]
    for headers in wrong:
        answer = get(desk, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert "Checkout" not in answer.text
    assert get(desk, path, auth=("eve", password())).status_code == 401
    assert get(desk, path, auth=("stopgap", password() + "x")).status_code == 401


def test_the_password_of_a_home_is_made_once_and_private(desk: Desk) -> None:
    file = home.data_folder() / readers.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = password()
    readers.door(home.data_folder())
    assert password() == before
    assert len(before) >= 32
    assert get(desk, "/incidents", auth=("stopgap", before)).status_code == 200
    assert get(desk, "/incidents", headers={"Authorization": f"Bearer {before}"}).status_code == 200


def test_policy_names_readers_and_the_homes_password_counts_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_READER", "of the readers\nthe one before")
    with (desk.folder / "policy.yaml").open("a") as policy:
        policy.write(READERS)
    monkeypatch.setattr("stopgap.engine.rules.LOOK_EVERY", 0.0)
    assert get(desk, "/incidents", auth=("oncall", "the one before")).status_code == 200
    assert get(desk, "/incidents", auth=("oncall", password())).status_code == 401
    assert get(desk, "/incidents", auth=("security", "")).status_code == 401  # its secret is not set


def test_a_restricted_incident_is_not_there_for_others(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_READER", "reader's")
    monkeypatch.setenv("TEST_SECURITY", "security's")
    with (desk.folder / "policy.yaml").open("a") as policy:
        policy.write(READERS)
    monkeypatch.setattr("stopgap.engine.rules.LOOK_EVERY", 0.0)
    incident, _ = rich_incident(desk.timeline, title="Somebody reads our mail")
    write(desk.timeline, incident, "incident.restricted", "ada restricted it", restricted=True)
    missing = get(desk, "/incidents/INC-99", auth=("oncall", "reader's"))
    for path in PATHS[1:]:
        answer = None if path == "/incidents/events" else get(desk, path, auth=("oncall", "reader's"))
        if answer is not None:
            assert (answer.status_code, answer.text) == (404, missing.text.replace("INC-99", "INC-1"))
    assert "mail" not in get(desk, "/incidents", auth=("oncall", "reader's")).text
    assert "Somebody reads our mail" in get(desk, "/incidents", auth=("security", "security's")).text
    assert get(desk, "/incidents/INC-1", auth=("security", "security's")).status_code == 200


@pytest.mark.parametrize(
    "name", ["INC-9", "SEALS", "RESPONDERS", "ALERTS%2Fone", "INC-1%00", "inc-1", "..", "INC-" + "9" * 400, "INC-\u0661"]
)
def test_no_other_chain_has_a_page(desk: Desk, name: str) -> None:
    answer = get(desk, f"/incidents/{name}", auth=("stopgap", password()))
    assert answer.status_code in {307, 404}
    assert "bug" not in answer.text


def test_every_answer_forbids_scripts_of_others_frames_and_keeping(desk: Desk) -> None:
    rich_incident(desk.timeline)
    answer = get(desk, "/incidents/INC-1", auth=("stopgap", password()))
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "style=" not in answer.text
    assert "<script>" not in answer.text
    assert "onclick" not in answer.text


def test_nothing_can_be_changed_by_it(desk: Desk) -> None:
    rich_incident(desk.timeline)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert httpx.request(method, f"{desk.url}/incidents/INC-1", auth=("stopgap", password()), trust_env=False).status_code == 405
