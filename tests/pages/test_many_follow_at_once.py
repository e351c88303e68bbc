"""Many browsers follow an incident; the timeline is asked for all of them together, and not at all when nobody looks."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import httpx
from sqlalchemy import event

from fixtures_pages import password, rich_incident, write
from stopgap.web import hub

if TYPE_CHECKING:
    import pytest

    from fixtures_alerts import Desk

FOLLOWERS = 100


async def follow(http: httpx.AsyncClient, url: str, wanted: str, ready: asyncio.Semaphore) -> int:
    """Follow until the wanted words come; return how many boards came."""
    boards = 0
    async with http.stream("GET", url) as answer:
        assert answer.status_code == 200, url
        async for line in answer.aiter_lines():
            if line == "event: board":
                boards += 1
                if boards == 1:
                    ready.release()
            if wanted in line:
                return boards
    raise AssertionError("the stream ended")


def questions_of(desk: Desk) -> list[str]:
    """The list into which each statement goes that asks how long chains are."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "head.number" in statement and "LIMIT" in statement:
            asked.append(statement)

    event.listen(desk.timeline.engine, "before_cursor_execute", note)
    return asked


def test_a_hundred_followers_cost_one_question_a_second_and_none_afterwards(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "EVERY", 0.5)
    incident, _ = rich_incident(desk.timeline)
    asked = questions_of(desk)

    async def all_of_them() -> list[int]:
        ready = asyncio.Semaphore(0)
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(auth=("stopgap", password()), trust_env=False, timeout=30, limits=limits) as http:
            urls = [f"{desk.url}/incidents/{incident}/events"] * (FOLLOWERS - 1) + [f"{desk.url}/incidents/events"]
            words = ["the words that all wait for"] * (FOLLOWERS - 1) + ["Payments are down"]
            following = [asyncio.create_task(follow(http, url, wanted, ready)) for url, wanted in zip(urls, words, strict=True)]
            for _ in urls:
                await ready.acquire()
            asked.clear()
            began = asyncio.get_running_loop().time()
            await asyncio.to_thread(write, desk.timeline, incident, "note", "the words that all wait for")
            await asyncio.to_thread(rich_incident, desk.timeline, title="Payments are down")
            boards = await asyncio.gather(*following)
            assert len(asked) <= (asyncio.get_running_loop().time() - began) / 0.5 + 2
            return boards

    assert len(asyncio.run(all_of_them())) == FOLLOWERS
    threading.Event().wait(1.0)
    asked.clear()
    threading.Event().wait(1.2)  # two more looks, if anybody still looked
    assert asked == []


def test_what_becomes_restricted_is_gone_for_those_who_follow_it(desk: Desk) -> None:
    (desk.folder / "policy.yaml").write_text(
        (desk.folder / "policy.yaml").read_text() + "incidents: {readers: {oncall: {secret: {env: TEST_ALERT_TOKEN}}}}\n"
    )
    incident, _ = rich_incident(desk.timeline)
    token = "a token of the tests"
    deadline = threading.Event()
    while httpx.get(f"{desk.url}/incidents", auth=("oncall", token), trust_env=False).status_code == 401:
        deadline.wait(0.1)
    with httpx.stream("GET", f"{desk.url}/incidents/{incident}/events", auth=("oncall", token), trust_env=False, timeout=20) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith("event")) == "event: board"
        write(desk.timeline, incident, "incident.restricted", "ada restricted it", restricted=True)
        rest = list(lines)
    assert "event: gone" in rest
    assert not any("restricted it" in line for line in rest)
