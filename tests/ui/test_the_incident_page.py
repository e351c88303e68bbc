"""The incident page in a real browser: live, on a telephone, in the dark, without JavaScript, and whatever an alert is called."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from fixtures_alerts import serving
from fixtures_browser import keep
from fixtures_pages import ask, rich_incident, write
from stopgap import home
from stopgap.timeline import open as opening
from stopgap.web import readers

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from playwright.sync_api import Page

    from fixtures_alerts import Desk
    from fixtures_pages import Browse

NASTY = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u202egnp\x1b[2J"


def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled for sideways."""
    wide: bool = page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    return wide


def test_it_shows_where_an_incident_stands_and_goes_on_by_itself(desk: Desk, browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_UI_URL", "http://prefect.example:4200")
    incident, run = rich_incident(desk.timeline)
    with browse() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{desk.url}/incidents")
        expect(page.get_by_role("status")).to_have_text("live")
        keep(page, "incidents")
        page.get_by_role("link", name="Checkout is slow").click()
        expect(page.get_by_role("heading", name="Waits for ada")).to_be_visible()
        expect(page.get_by_text("+app: image: registry.example/checkout:2.4.0")).to_be_visible()
        expect(page.get_by_role("link", name="Open the form in Prefect")).to_have_attribute(
            "href", "http://prefect.example:4200/runs/flow-run/f1"
        )
        expect(page.get_by_text("The next is due")).to_contain_text(re.compile(r"in (30m|29m\d+s)"))
        expect(page.get_by_role("status")).to_have_text("live")
        keep(page, "incident")
        write(desk.timeline, incident, "incident.severity", "ada set it to SEV2", severity="SEV2")
        expect(page.locator("h1 .badge")).to_have_text("SEV2")
        timeline = desk.timeline
        timeline.append(
            run.draft("gate.decided", "ada approved", step="roll_back", data={"round": 1, "answer": "approve", "approved_by": ["ada"]})
        )
        expect(page.get_by_role("heading", name="Waits for ada")).to_have_count(0)
        assert [url for url in asked if not url.startswith(desk.url)] == []


def test_a_telephone_in_the_dark_and_no_scripts_show_the_same(desk: Desk, browse: Browse) -> None:
    incident, _ = rich_incident(desk.timeline, name="x" * 300)
    rich_incident(desk.timeline)
    for scripts in (True, False):
        with browse(width=360, scheme="dark", scripts=scripts) as page:
            for path in ("/incidents", f"/incidents/{incident}", "/incidents/INC-2"):
                page.goto(desk.url + path)
                expect(page.get_by_text("INC-").first).to_be_visible()
                if scripts:
                    assert fits(page), path
            expect(page.get_by_role("heading", name="Waits for ada")).to_be_visible()
            keep(page, f"incident-telephone-{'live' if scripts else 'plain'}")
            if scripts:
                assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 18, 22)"


def test_it_can_be_printed(desk: Desk, browse: Browse) -> None:
    incident, _ = rich_incident(desk.timeline)
    with browse() as page:
        page.goto(f"{desk.url}/incidents/{incident}")
        page.emulate_media(media="print", color_scheme="dark")
        expect(page.get_by_role("link", name="Open the form in Prefect")).to_have_count(0)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert len(page.pdf()) > 1000
        keep(page, "incident-print")


def test_no_text_of_an_alert_becomes_anything_but_text(desk: Desk, browse: Browse) -> None:
    incident, run = rich_incident(desk.timeline, title=NASTY, name=NASTY, url="javascript:document.title='owned'")
    with browse() as page:
        page.goto(f"{desk.url}/incidents/{incident}")
        expect(page.get_by_role("status")).to_have_text("live")
        write(desk.timeline, incident, "note", NASTY)
        expect(page.locator(".timeline li").first).to_contain_text("</script><script>")
        ask(desk.timeline, run, name=NASTY)
        expect(page.get_by_text("asked for the 2. time")).to_be_visible()
        assert page.title() == incident
        assert page.locator("main script, main img").count() == 0
        assert page.locator("a[href^='javascript']").count() == 0
        text = page.content()
        assert "\u202e" not in text
        assert "\x1b" not in text


def test_it_says_when_it_is_not_live(stopgap_home: Path, alert_rules: Path, browse: Browse) -> None:
    assert stopgap_home
    home.make(home.data_folder())
    readers.door(home.data_folder())  # it makes the password
    with opening.timeline() as timeline, browse() as page:
        incident, _ = rich_incident(timeline)
        with serving(timeline, alert_rules) as desk:
            page.goto(f"{desk.url}/incidents/{incident}")
            expect(page.get_by_role("status")).to_have_text("live")
        expect(page.get_by_role("status")).to_have_text(re.compile("^NOT LIVE for"))
        expect(page.get_by_role("heading", name="Waits for ada")).to_be_visible()
