"""Tells many browsers what is new by server-sent events. The timeline is asked once a second for all of them, and never while nobody looks.

What a page shows is rendered once for everybody who looks at it. Whoever is slow gets the newest and misses what was between.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from stopgap.timeline.store import TimelineUnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from stopgap.timeline.store import PostgresTimeline

LOG = logging.getLogger("stopgap.web")
EVERY = 1.0  # seconds
STILL = 15.0  # seconds, after which silence is broken: whoever has gone is noticed
MOST = 2000  # listeners
ALL = ""  # the list of incidents


class Topic(NamedTuple):
    """What somebody looks at: an incident or ALL, and whether restricted ones are shown to them."""

    name: str
    restricted: bool


@dataclass(slots=True)
class _Heard:
    """What was last told of a topic."""

    event: bytes = b""
    version: int = 0
    length: object = None
    listeners: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """All who listen. `render` gives the board of a topic as HTML, empty when there is nothing (any more) to be seen."""

    def __init__(self, timeline: PostgresTimeline, render: Callable[[Topic], str], *, listed: int) -> None:
        self._timeline = timeline
        self._render = render
        self._listed = listed
        self._topics: dict[Topic, _Heard] = {}
        self._looking: asyncio.Task[None] | None = None
        self._is_over = False

    @property
    def is_full(self) -> bool:
        """No more listeners are taken."""
        return sum(each.listeners for each in self._topics.values()) >= MOST

    async def listen(self, topic: Topic) -> AsyncIterator[bytes]:
        """Yield events until the listener leaves or the server ends; the first at once, so that nothing is missed since the page was loaded."""
        heard = self._topics.setdefault(topic, _Heard())
        heard.listeners += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        seen = 0
        try:
            while not self._is_over:
                if heard.version != seen:
                    seen = heard.version
                    yield heard.event
                    if heard.event == GONE:
                        return
                    continue
                changed = heard.changed
                try:
                    async with asyncio.timeout(STILL):
                        await changed.wait()
                except TimeoutError:
                    yield event("still", "")
        finally:
            heard.listeners -= 1
            if not heard.listeners:
                self._topics.pop(topic, None)

    def end(self) -> None:
        """Let every listener go; browsers come again by themselves when there is a server."""
        self._is_over = True
        if self._looking:
            self._looking.cancel()
        for heard in self._topics.values():
            heard.changed.set()

    async def _look(self) -> None:
        while self._topics:
            try:
                await self._look_once()
            except TimelineUnreachableError as error:
                LOG.warning("the incident pages are not live: %s", error)
                self._tell_all(event("trouble", "The timeline cannot be reached."))
            except Exception:
                LOG.exception("a bug in stopgap: the incident pages are not live")
                self._tell_all(event("trouble", "This is a bug in stopgap."))
            with contextlib.suppress(TimeoutError):
                await asyncio.sleep(EVERY)

    async def _look_once(self) -> None:
        names = {topic.name for topic in self._topics} - {ALL}
        listed = self._listed if any(topic.name == ALL for topic in self._topics) else 0
        lengths = await asyncio.to_thread(self._timeline.lengths, *names, newest=listed)
        for topic, heard in tuple(self._topics.items()):
            length: object = tuple(sorted(lengths.items())) if topic.name == ALL else lengths.get(topic.name, 0)
            if heard.length != length:
                html = await asyncio.to_thread(self._render, topic)
                _tell(heard, event("board", html) if html else GONE)
                heard.length = length

    def _tell_all(self, said: bytes) -> None:
        for heard in self._topics.values():
            if heard.event != said:
                _tell(heard, said)
            heard.length = None  # when it can be reached again, they hear so


def event(kind: str, text: str) -> bytes:
    """Return a server-sent event."""
    lines = "".join(f"data: {line}\n" for line in text.replace("\r", "\n").split("\n"))
    return f"event: {kind}\n{lines}\n".encode()


def _tell(heard: _Heard, said: bytes) -> None:
    heard.event, heard.version = said, heard.version + 1
    before, heard.changed = heard.changed, asyncio.Event()
    before.set()


GONE = event("gone", "")
