"""Time: one clock for everything that waits or expires, and durations as people write them (`90s`, `15m`, `2h30m`)."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

DURATION = r"(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m)?(?:[0-9]+(?:\.[0-9]+)?s)?"
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_PARTS = re.compile(r"(?:(?P<days>[0-9]+)d)?(?:(?P<hours>[0-9]+)h)?(?:(?P<minutes>[0-9]+)m)?(?:(?P<seconds>[0-9]+(?:\.[0-9]+)?)s)?")


class Clock(Protocol):
    """Tells the time, in aware UTC, and waits."""

    def now(self) -> datetime:
        """Return this moment, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards, for measuring how long something took; they go on while the machine sleeps, if it can."""

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return this moment, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never run backwards, not even while the machine sleeps where its system counts them."""
        return time.clock_gettime(_STEADY)

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        time.sleep(seconds)


def parse_duration(text: str) -> timedelta:
    """`1d`, `2h30m`, `90s`, `0.5s` -> timedelta; ValueError says what is allowed."""
    match = _PARTS.fullmatch(text)
    if not text or match is None:
        raise ValueError(f'"{text}" is not a duration; write a number with d, h, m or s, like 90s, 15m or 2h30m')
    return timedelta(**{unit: float(number) for unit, number in match.groupdict().items() if number})


def format_duration(duration: timedelta) -> str:
    """Render a timedelta as `parse_duration` reads it: `2h30m`, `1.5s`, `0s`; to a millisecond."""
    seconds = round(duration.total_seconds(), 3)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        count = int(seconds // size)
        if count:
            parts.append(f"{count}{unit}")
            seconds = round(seconds - count * size, 3)
    if seconds or not parts:
        parts.append(f"{seconds:g}s")
    return "".join(parts)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, as the timeline stores it: `2026-11-21T03:00:00.123456Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
