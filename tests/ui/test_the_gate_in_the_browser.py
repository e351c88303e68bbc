"""The incident commander decides in Prefect's UI, in a real browser, during the demo.

With STOPGAP_SCREENSHOTS naming a folder, what the browser showed is kept there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
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
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")


@dataclass
class Demo:
    """A demo that waits for its incident commander."""

    process: subprocess.Popen[str]
    link: str
    auth: str

    def rest(self) -> str:
        """Wait for its end; return what it still said."""
        said, _ = self.process.communicate(timeout=200)
        return said


@pytest.fixture
def demo() -> Iterator[Demo]:
    process = subprocess.Popen([sys.executable, "-m", "stopgap", "demo"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if found := re.search(r"log in with (\S+), press Resume", said):
            break
    else:
        raise AssertionError(f"the demo ended with {process.wait()}:\n{said}")
    (link,) = re.findall(r"^ +(http://\S+)$", said, re.MULTILINE)
    yield Demo(process=process, link=link, auth=found.group(1))
    if process.poll() is None:
        process.terminate()
        process.communicate()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
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


def open_gate(page: Page, demo: Demo) -> None:
    page.goto(demo.link)
    page.locator("input[type=password]").fill(demo.auth)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.reload()  # rid of the complaint that the page makes about itself before anybody has logged in
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Resume Flow Run")).to_be_visible()


def choose(page: Page, *, field: int, option: str) -> None:
    form = page.get_by_role("dialog")
    form.locator(".p-select-button__control").nth(field).focus()
    page.keyboard.press("Space")  # a click without the pause of a hand opens the list and closes it again
    page.locator(".p-select-option").filter(has_text=re.compile(option)).first.click()


def answer(page: Page, decision: str) -> None:
    choose(page, field=0, option=f"^{decision}$")
    choose(page, field=1, option="^[0-9a-f]+$")
    form = page.get_by_role("dialog")
    form.locator("textarea").nth(0).fill("ada")
    form.locator("textarea").nth(1).fill("the shop is slow since 2.4.1")


def submit(page: Page) -> None:
    """Send the answer, and see that the run goes on. How it ends the demo says: its server ends with it, sooner than the page asks for news."""
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text(re.compile("^(Resuming|Scheduled|Pending|Running|Completed|Rejected)$")).first).to_be_visible()


def test_she_reads_the_diff_approves_and_the_run_goes_on(page: Page, demo: Demo) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_gate(page, demo)
    expect(page.get_by_role("cell", name="registry.example/checkout:2.4.0")).to_be_visible()
    expect(page.get_by_text("+app: image: registry.example/checkout:2.4.0")).to_be_visible()
    expect(page.get_by_text("Who may decide: Ada Amari (ada)")).to_be_attached()
    answer(page, "approve")
    keep(page, "approval")
    submit(page)
    said = demo.rest()
    assert demo.process.returncode == 0, said
    assert "ada (incident-commander) approved roll_back: the shop is slow since 2.4.1\n" in said
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []


def test_she_stops_the_run_and_the_change_is_not_made(page: Page, demo: Demo) -> None:
    open_gate(page, demo)
    answer(page, "stop the run")
    submit(page)
    said = demo.rest()
    assert demo.process.returncode == 4, said
    assert "Not done: scale, roll_back" in said
