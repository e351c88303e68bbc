"""Two people decide with one-time codes in Prefect's UI: wrong codes, a quorum, a change that moved meanwhile, a question that expired."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyotp
import pytest
from playwright.sync_api import expect
from prefect.client.schemas.objects import StateType

from fixtures_browser import fill_in, keep, log_in, open_form
from fixtures_engine import Ahead, no_policy, texts
from stopgap.approvals import codes, responders
from stopgap.engine.api import Api
from stopgap.engine.sweep import Sweeper
from stopgap.policy import load as policies
from stopgap.policy.model import PersonId

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from fixtures_engine import Bench
    from fixtures_waiting import Waiting
    from stopgap.engine.server import PrefectServer

# Prefect leaves the socket of its event feed to the collector when a flow run ends in this process.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
TWO = """\
steps:
  - id: scale
    name: Add checkout capacity
    uses: kubernetes.scale
    with: {deployment: checkout, replicas: 9}
    approval: {by: [incident-commander], approvers: 2}
"""
ONE = TWO.replace(", approvers: 2", "")


@pytest.fixture
def bench(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The sandbox's policy, with codes required."""
    monkeypatch.setenv("STOPGAP_SECRET_KEY", "the key of the secrets in these tests")
    path = bench.folder / "policy.yaml"
    path.write_text(path.read_text().replace("require_code: false", "require_code: true"))
    bench.policy = policies.load(path)
    return bench


class Phones:
    """Ada's and Ben's. Each code counts once, so they go on to the next one without waiting for it."""

    def __init__(self, bench: Bench) -> None:
        self.apps = {name: pyotp.TOTP(pyotp.random_base32()) for name in ("ada", "ben")}
        self.next = dict.fromkeys(self.apps, -1)
        timeline = bench.timeline
        for name, app in self.apps.items():
            responders.enrol(timeline, responders.roll(timeline), person=PersonId(name), by="installer", secret=app.secret)

    def code(self, name: str) -> str:
        self.next[name] += 1
        return self.apps[name].at(datetime.now(UTC) + timedelta(seconds=codes.STEP * self.next[name]))

    def wrong(self, name: str) -> str:
        near = {self.apps[name].at(datetime.now(UTC) + timedelta(seconds=codes.STEP * number)) for number in range(-3, 4)}
        return next(each for each in map("{:06}".format, range(10)) if each not in near)


def submit(page: Page, waiting: Waiting) -> None:
    """Send the form, and let the run go on to where it waits again or ends."""
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("dialog")).not_to_be_visible()
    assert waiting.state().type is not StateType.PAUSED
    go_on(waiting)


def go_on(waiting: Waiting) -> None:
    """Execute the flow run in another thread: the browser's own loop runs in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, waiting.execute).result()


def says(page: Page, text: str) -> None:
    expect(page.get_by_role("dialog").get_by_text(text, exact=False).first).to_be_visible()


@pytest.mark.parametrize("waiting", [TWO], indirect=True)
def test_two_people_decide_while_the_change_moves(waiting: Waiting, page: Page, bench: Bench, prefect_server: PrefectServer) -> None:
    phones = Phones(bench)
    log_in(page, f"{prefect_server.ui_url}/login?redirect=/runs/flow-run/{waiting.flow_run}", prefect_server.auth)
    open_form(page)
    says(page, "kubernetes/sandbox/shop/deployment/checkout")
    says(page, "2 different people must approve; so far: nobody yet")
    fill_in(page, "approve", "ada", phones.wrong("ada"), "the queue grows")
    keep(page, "gate-asked")
    submit(page, waiting)
    open_form(page)
    says(page, "The one-time code is not the one of ada at that moment. Is the telephone's clock right?")
    keep(page, "gate-wrong-code")
    fill_in(page, "approve", "ada", phones.code("ada"), "the queue grows")
    submit(page, waiting)
    open_form(page)
    says(page, "ada answered the question about scale by Prefect form: approve: the queue grows")
    says(page, "2 different people must approve; so far: ada")
    keep(page, "gate-second-person")
    bench.meddle(replicas=5)
    fill_in(page, "approve", "ben", phones.code("ben"), "")
    submit(page, waiting)
    assert bench.replicas() == 5
    open_form(page)
    says(page, "Asked again: it is no longer what was approved, and nothing of it was done.")
    expect(page.get_by_role("row", name="replicas now 3 5")).to_be_visible()
    keep(page, "gate-asked-again")
    for name in ("ada", "ben"):
        fill_in(page, "approve", name, phones.code(name), "")
        submit(page, waiting)
        if name == "ada":
            open_form(page)
    assert waiting.state().type is StateType.COMPLETED
    assert bench.replicas() == 9


@pytest.mark.parametrize("waiting", [ONE], indirect=True)
def test_an_expired_question_is_shown_as_such(waiting: Waiting, page: Page, bench: Bench, prefect_server: PrefectServer) -> None:
    log_in(page, f"{prefect_server.ui_url}/login?redirect=/runs/flow-run/{waiting.flow_run}", prefect_server.auth)
    Sweeper(Api(url=prefect_server.api_url, auth=prefect_server.auth), bench.timeline, Ahead(timedelta(minutes=16)), no_policy)()
    go_on(waiting)
    page.reload()
    expect(page.get_by_text("Expired").first).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).not_to_be_visible()
    keep(page, "gate-expired")
    assert bench.replicas() == 3


def answer_in_v2(page: Page, name: str, code: str) -> None:
    """Fill in and send the form of Prefect's newer UI."""
    page.get_by_role("button", name="Open menu").first.click()
    page.get_by_role("menuitem", name="Resume").click()
    form = page.get_by_role("dialog", name="Resume Flow Run")
    expect(form.get_by_text("kubernetes/sandbox/shop/deployment/checkout")).to_be_visible()
    for field, option in (("Decision", re.compile("^approve$")), ("This change", re.compile("^[0-9a-f]{16}$"))):
        opener = form.get_by_role("button", name=f"Select {field}")
        opener.click()
        page.get_by_role("option", name=option).click()
        # A list that is closing hands the focus back, which closes the list that was opened meanwhile.
        expect(page.get_by_role("option")).to_have_count(0)
        expect(opener).to_be_focused()
    for number, text in enumerate((name, code, "seen in the newer UI")):
        form.locator("textarea").nth(number).fill(text)
    keep(page, "gate-v2")
    form.get_by_role("button", name="Resume").click()
    expect(form).not_to_be_visible()


@pytest.mark.parametrize("waiting", [ONE], indirect=True)
def test_prefects_newer_ui_takes_the_same_answers(waiting: Waiting, page: Page, bench: Bench, prefect_server: PrefectServer) -> None:
    phones = Phones(bench)
    page.goto(f"{prefect_server.ui_url}/v2/runs/flow-run/{waiting.flow_run}")
    page.locator("input[type=password]").fill(prefect_server.auth)
    page.keyboard.press("Enter")
    answer_in_v2(page, "ada", phones.wrong("ada"))
    go_on(waiting)
    assert [text.partition(": ")[2] for text in texts(waiting.work, "gate.refused")] == [
        "The one-time code is not the one of ada at that moment. Is the telephone's clock right?"
    ]
    assert bench.replicas() == 3
    page.reload()
    answer_in_v2(page, "ada", phones.code("ada"))
    go_on(waiting)
    assert waiting.state().type is StateType.COMPLETED
    assert bench.replicas() == 9
