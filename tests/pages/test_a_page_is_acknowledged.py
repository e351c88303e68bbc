"""One link acknowledges a page: looking at it does nothing, the button does, once, and nobody can guess another's."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect

from fixtures_browser import keep
from fixtures_pages import rich_incident
from stopgap.incidents import fold, paging
from stopgap.notices import compose
from stopgap.policy.model import RoleName

if TYPE_CHECKING:
    from fixtures_alerts import Desk
    from fixtures_pages import Browse

COMMANDER = RoleName("incident-commander")


def paged(desk: Desk) -> str:
    """Page the commander; return the path of ada's link."""
    incident, _ = rich_incident(desk.timeline, title="<b>Shop</b>")
    found = fold.find_incident(desk.timeline, incident)
    page = paging.ask(desk.timeline, found, role=COMMANDER, by="stopgap", why="<i>all</i> is slow", key=incident).data["page"]
    return f"/pages/{page}/ada/{desk.timeline.token(compose.purpose(page, 'ada'))}"


def acknowledged(desk: Desk) -> list[tuple[str, str]]:
    return [(entry.actor, entry.text) for entry in desk.timeline.of_kind("page.acknowledged")]


def test_looking_acknowledges_nothing_and_the_button_does_once(desk: Desk) -> None:
    path = paged(desk)
    for method in ("GET", "HEAD", "GET"):
        assert desk.http.request(method, path).status_code == 200
    assert acknowledged(desk) == []
    answers = [desk.http.post(path) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert "has acknowledged the page of incident-commander" in answers[0].text
    assert "<form" not in desk.http.get(path).text
    assert acknowledged(desk) == [("ada", "ada acknowledged the page of incident-commander by link")]


def test_of_many_who_press_at_once_one_wins(desk: Desk) -> None:
    path = paged(desk)
    threads = [threading.Thread(target=lambda: httpx.post(desk.url + path, trust_env=False, timeout=20)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(acknowledged(desk)) == 1


@pytest.mark.parametrize(
    "change", [("ada", "ben"), (".p1", ".p2"), ("INC-1.", "INC-2."), ("INC-1.", "SEALS."), ("", "x"), ("ada/", "ada/0")]
)
def test_a_link_is_good_for_one_page_and_one_person(desk: Desk, change: tuple[str, str]) -> None:
    path = paged(desk)
    wrong = path.replace(*change, 1) if change[0] else path + change[1]
    for answer in (desk.http.get(wrong), desk.http.post(wrong)):
        assert (answer.status_code, answer.json()["error"]) == (
            404,
            "This link acknowledges nothing. Look for a newer one, or type:  stopgap incident ack",
        )
    assert acknowledged(desk) == []


def test_on_a_telephone_one_press_is_enough(desk: Desk, browse: Browse) -> None:
    path = paged(desk)
    with browse(width=360, scripts=False, secret="none is needed") as page:
        page.goto(desk.url + path)
        expect(page.get_by_text("<i>all</i> is slow")).to_be_visible()
        keep(page, "acknowledge")
        page.get_by_role("button", name="I look after it (ada)").click()
        expect(page.get_by_text("Nobody is paged for it any more.")).to_be_visible()
        page.reload()
    assert len(acknowledged(desk)) == 1
