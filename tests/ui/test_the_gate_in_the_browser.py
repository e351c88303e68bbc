"""The incident commander decides in Prefect's UI, in a real browser, during the demo."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from fixtures_browser import fill_in, keep, log_in, open_form

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page


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


def open_gate(page: Page, demo: Demo) -> None:
    log_in(page, demo.link, demo.auth)
    open_form(page)


def answer(page: Page, decision: str) -> None:
    fill_in(page, decision, "ada", "the shop is slow since 2.4.1")


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
    assert "The checkout takes longer than 0.5 s: over, says alertmanager." in said
    assert "Mitigated: every alert of this incident is over\n" in said
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []


def test_she_stops_the_run_and_the_change_is_not_made(page: Page, demo: Demo) -> None:
    open_gate(page, demo)
    answer(page, "stop the run")
    submit(page)
    said = demo.rest()
    assert demo.process.returncode == 4, said
    assert "Not done: scale, roll_back" in said
