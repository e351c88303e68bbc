"""A runbook is as good as its last review; durations and days must exist."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from stopgap.clock import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from stopgap.document import Document, KeyPath
    from stopgap.problems import Problem
    from stopgap.runbook.known import Known

_DURATIONS = frozenset({"timeout", "delay", "expires", "after", "cooldown", "review_every"})


def check(found: Document, known: Known) -> Iterator[Problem]:
    """The day of the review, its age, and what is archived."""
    if not isinstance(found.data, dict):
        return
    yield from _too_long(found, found.data, ())
    day = _day(found.data.get("reviewed"))
    if day is None and _looks_like_a_day(found.data.get("reviewed")):
        yield found.problem(("reviewed",), f"there is no day {found.data['reviewed']}", "bad-date")
    if day is not None and day > known.today:
        yield found.problem(("reviewed",), f"{day} has not come yet", "bad-date", hint=f"today is {known.today}")
    yield from _overdue(found, day, known.today)
    if "superseded_by" in found.data and found.data.get("archived") is not True:
        hint = "write archived: true, or leave superseded_by out"
        yield found.problem(("superseded_by",), "only an archived runbook is superseded", "not-archived", hint=hint, at_key=True)


def _overdue(found: Document, day: date | None, today: date) -> Iterator[Problem]:
    every = _duration(found.data.get("review_every"))
    if every is None or found.data.get("archived") is True:
        return
    if day is None and "reviewed" not in found.data:
        yield found.warning(
            ("review_every",), "nobody has reviewed this runbook yet", "overdue-review", hint=f"reviewed: {today}", at_key=True
        )
    elif day is not None and (today - day) > every:
        late = (today - day - every).days
        sentence = f"the review is overdue by {late} {'day' if late == 1 else 'days'}"
        yield found.warning(("reviewed",), sentence, "overdue-review", hint=f"read it through, then write reviewed: {today}")


def _too_long(found: Document, value: Any, path: KeyPath) -> Iterator[Problem]:
    """A duration may fit the pattern and yet be longer than a timedelta holds."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _DURATIONS and isinstance(item, str) and _overflows(item):
                yield found.problem((*path, key), f"{item} is longer than any incident", "bad-duration")
            yield from _too_long(found, item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _too_long(found, item, (*path, index))


def _overflows(text: str) -> bool:
    try:
        parse_duration(text)
    except OverflowError:
        return True
    except ValueError:
        return False
    return False


def _duration(value: Any) -> timedelta | None:
    try:
        return parse_duration(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _day(value: Any) -> date | None:
    try:
        return date.fromisoformat(value) if _looks_like_a_day(value) else None
    except ValueError:
        return None


def _looks_like_a_day(value: Any) -> bool:
    return isinstance(value, str) and len(value) == len("2026-11-01") and value.replace("-", "").isdecimal() and value[4] == value[7] == "-"
