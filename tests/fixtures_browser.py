"""A headless Chromium in which somebody answers the form of a gate in Prefect's UI.

With STOPGAP_SCREENSHOTS naming a folder, what the browser showed is kept there; docs/images comes from it.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# The flags keep Chromium from calling home; a new profile keeps it from anybody's settings.
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 60_000.0  # milliseconds; on two busy cores a page takes long


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=CHROMIUM, args=ARGUMENTS, viewport={"width": 1100, "height": 980}
        )
        browser.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield browser.new_page()
        browser.close()


def keep(page: Page, name: str) -> None:
    folder = os.environ.get("STOPGAP_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


def log_in(page: Page, link: str, auth: str) -> None:
    page.goto(link)
    page.locator("input[type=password]").fill(auth)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()


def open_form(page: Page) -> None:
    page.reload()  # rid of the complaint that the page makes about itself before anybody has logged in, and of what it showed before
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Resume Flow Run")).to_be_visible()


def choose(page: Page, *, field: int, option: str) -> None:
    form = page.get_by_role("dialog")
    form.locator(".p-select-button__control").nth(field).focus()
    page.keyboard.press("Space")  # a click without the pause of a hand opens the list and closes it again
    page.locator(".p-select-option").filter(has_text=re.compile(option)).first.click()


def fill_in(page: Page, decision: str, *texts: str) -> None:
    """Choose the decision and the change, and type the texts into the fields in their order: name, code if there is one, reason."""
    choose(page, field=0, option=f"^{decision}$")
    choose(page, field=1, option="^[0-9a-f]+$")
    form = page.get_by_role("dialog")
    for number, text in enumerate(texts):
        form.locator("textarea").nth(number).fill(text)
