"""The status page, at Statuspage and as a file, and where people meet."""

from __future__ import annotations

import dataclasses
import fcntl
import os
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_cluster import carry_out, context_in
from fixtures_office import PASSWORD
from stopgap.actions import registry
from stopgap.actions.contract import InDoubtError, PermanentError, Probe, TemporaryError
from stopgap.testing.actions import ActionContract, Scene

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures_office import Office

ALONE = "nobody else writes our mark"
AT_ONCE = "a post stands as soon as it was answered"
PARTS = {"shop": "c-shop", "pay": "c-pay"}


def update(status: str = "investigating", **more: Any) -> Any:
    return registry.build("status.update", {"status": status, "message": "We look into it.", "title": "Checkout is slow", **more})


def shown(office: Office) -> Any:
    """What customers see as open, and how the components are."""
    posts = [(each["status"], each["incident_updates"][0]["body"]) for each in office.incidents.values() if each["status"] != "resolved"]
    return posts, dict(office.components)


class TestFirstPost(ActionContract):
    @pytest.fixture
    def scene(self, office: Office) -> Scene:
        return Scene(
            action=update(components={"shop": "partial_outage"}),
            policy=office.policy(office.site("status_pages", "statuspage", components=PARTS)),
            look=lambda: shown(office),
            heard=office.changes,
            never={Probe.IN_PROGRESS: AT_ONCE, Probe.UNKNOWN: ALONE},
        )


class TestNextPost(ActionContract):
    @pytest.fixture
    def scene(self, office: Office) -> Scene:
        policy = office.policy(office.site("status_pages", "statuspage", components=PARTS))
        carry_out(update(components={"shop": "partial_outage"}), context_in(policy, mark="INC-1.1/first/1"))
        before = len(office.changes())
        return Scene(
            action=update("monitoring", message="Capacity was added.", components={"shop": "degraded_performance"}),
            policy=policy,
            look=lambda: shown(office),
            heard=lambda: office.changes()[before:],
            never={Probe.IN_PROGRESS: AT_ONCE, Probe.UNKNOWN: ALONE},
        )


class TestFile(ActionContract):
    @pytest.fixture
    def scene(self, office: Office, tmp_path: Path) -> Scene:
        page = tmp_path / "index.html"
        policy = office.policy(office.site("status_pages", "file", secret=False, file=page))
        carry_out(update(), context_in(policy, mark="INC-1.1/first/1"))
        now = "</time> "
        return Scene(
            action=update("identified", message="It is the cache."),
            policy=policy,
            look=lambda: page.read_text().split(now)[1].split("</li>")[0],
            never={Probe.IN_PROGRESS: AT_ONCE, Probe.UNKNOWN: ALONE},
        )


class TestZoom(ActionContract):
    @pytest.fixture
    def scene(self, office: Office) -> Scene:
        return Scene(
            action=registry.build("bridge.open", {"title": "Checkout is slow"}),
            policy=office.policy(office.site("bridges", "zoom")),
            look=lambda: [each["topic"] for each in office.meetings.values()],
            heard=office.changes,
            never={Probe.IN_PROGRESS: "a meeting is there when it was answered", Probe.UNKNOWN: ALONE},
        )


def test_an_answer_that_got_lost_posts_nothing_twice(office: Office) -> None:
    policy = office.policy(office.site("status_pages", "statuspage"), office.site("bridges", "zoom"))
    office.hangs_up = True
    for step in (update(), registry.build("bridge.open", {})):
        context = context_in(policy)
        change = step.plan(context)
        with pytest.raises(InDoubtError):
            step.apply(context, change)
        assert step.probe(context, change) is Probe.DONE
    assert (len(office.incidents), len(office.meetings), len(office.changes())) == (1, 1, 2)


def test_a_component_that_is_not_known_is_named_before_anything_is_posted(office: Office) -> None:
    policy = office.policy(office.site("status_pages", "statuspage", components={**PARTS, "old": "c-gone"}))
    with pytest.raises(
        PermanentError,
        match=r'^policy\.yaml knows no component "shopp" of the status page "default" \(statuspage\); it knows: old, pay, shop\.$',
    ):
        update(components={"shopp": "major_outage"}).plan(context_in(policy))
    with pytest.raises(PermanentError, match=r"has no component with the id that policy\.yaml gives for old\.$"):
        update(components={"old": "major_outage"}).plan(context_in(policy))
    assert office.changes() == []


def test_the_page_in_a_file_is_whole_readable_by_a_web_server_and_harmless(office: Office, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    policy = office.policy(office.site("status_pages", "file", secret=False, file=page, title="Shop", link="https://status.example.com"))
    evil = "</script><script>alert(1)</script>"
    _, outcome = carry_out(update(message=evil, components={evil[:90]: "major_outage"}), context_in(policy))
    carry_out(update("monitoring", title="Other"), context_in(policy, mark="INC-2.1/step/1"))
    text = page.read_text()
    assert outcome.data == {"url": "https://status.example.com"}
    assert "alert(1)</script>" not in text
    assert text.count("<section>") == 2
    assert oct(page.stat().st_mode & 0o777) == "0o644"
    assert sorted(each.name for each in tmp_path.iterdir()) == [".index.html.lock", "index.html"]


def test_a_file_that_is_no_page_of_ours_is_not_overwritten(office: Office, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    policy = office.policy(office.site("status_pages", "file", secret=False, file=page))
    for text in ("<h1>Mine</h1>", '<script type="application/json" id="stopgap-status">[</script>'):
        page.write_text(text)
        with pytest.raises(PermanentError, match=r"is no page of stopgap; it is not overwritten\.\nMove it away"):
            update().plan(context_in(policy))
        assert page.read_text() == text


def test_two_who_write_a_page_at_once_lose_nothing(office: Office, tmp_path: Path) -> None:
    policy = office.policy(office.site("status_pages", "file", secret=False, file=tmp_path / "index.html"))
    step, context = update(), context_in(policy)
    change = step.plan(context)
    with (tmp_path / ".index.html.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TemporaryError, match=r"another run writes .* at this moment\. Nothing was changed\.$"):
            step.apply(context, change)
    assert step.apply(context, change).changed


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_says_so(office: Office, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermanentError, match=r"cannot be written \(Permission denied\)\. Nothing was changed\.$"):
        carry_out(update(), context_in(office.policy(office.site("status_pages", "file", secret=False, file=tmp_path / "index.html"))))


def test_a_link_to_jitsi_is_the_same_for_an_incident_and_cannot_be_guessed(office: Office) -> None:
    policy = office.policy(office.site("bridges", "jitsi", secret=False, url="https://meet.example.com"))
    step = registry.build("bridge.open", {})

    def link(mark: str, origin: str) -> str:
        context = dataclasses.replace(context_in(policy, mark=mark), origin=lambda: origin)
        assert step.probe(context, step.plan(context)) is Probe.NOT_DONE
        return str(carry_out(step, context)[1].data["url"])

    first = link("INC-1.1/a/1", "0123")
    assert first.startswith("https://meet.example.com/inc-1-")
    assert len(first.rpartition("-")[2]) == 20
    assert link("INC-1.2/b/3", "0123") == first
    assert len({first, link("INC-1.1/a/1", "4567"), link("INC-2.1/a/1", "0123")}) == 3
    assert office.heard == []


def test_zoom_refusing_the_app_names_its_secret(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = office.policy(office.site("bridges", "zoom"))
    monkeypatch.setenv("OFFICE_PASSWORD", "wrong-one")
    with pytest.raises(PermanentError) as caught:
        registry.build("bridge.open", {}).plan(context_in(policy))
    assert "It comes from: The environment variable OFFICE_PASSWORD, as policy.yaml says under bridges.default." in str(caught.value)
    assert PASSWORD not in str(caught.value)
