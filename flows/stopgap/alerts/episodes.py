"""What one more word about an alert means: a new episode, the one that goes on, its end, or old news. No input or output happens here.

Deliveries come repeated, reordered and by several ways, and the sources' clocks are not ours. So moments of one source are compared with each
other, and only waiting is measured by our clock.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.alerts.model import Alert, Status
from stopgap.timeline.intake import Episode

if TYPE_CHECKING:
    from datetime import datetime

LATE = timedelta(minutes=5)  # so long after an end, a delivery from before it may still be on its way


class Meaning(enum.StrEnum):
    """What a word about an alert means for its episode."""

    OPENS = "opens"  # a new episode begins
    GOES_ON = "goes on"
    CLOSES = "closes"
    LATE = "late"  # it fires, from before it was said to be over; our side stays as it is
    OLD = "old"  # the end of an earlier episode, or of none
    NOTED = "noted"  # acknowledged, or without data


def judge(last: Episode | None, alert: Alert, *, at: datetime, stale_after: timedelta) -> Meaning:
    """Say what it means; `last` is the newest episode, `at` when the delivery was accepted."""
    if alert.status is Status.FIRING:
        return _firing(last, alert, at=at, stale_after=stale_after)
    if alert.status is not Status.RESOLVED:
        return Meaning.NOTED
    if last is None or not last.is_open or _is_before(alert.moment, last.started):
        return Meaning.OLD
    return Meaning.CLOSES


def after(last: Episode | None, alert: Alert, meaning: Meaning, *, at: datetime) -> Episode | None:
    """Return the episode as it stands afterwards, but for what it starts; None when there is nothing to keep."""
    if meaning is Meaning.OPENS:
        number = last.number + 1 if last else 1
        return Episode(
            source=alert.source, alert=alert.key, number=number, started=alert.moment, opened_at=at, seen_at=at, deliveries=1,
            incident=last.incident if last else "", run=last.run if last else "",
        )  # fmt: skip
    if last is None:
        return _only_ended(alert, at) if alert.status is Status.RESOLVED else None
    counted = replace(last, deliveries=last.deliveries + 1)
    if meaning is Meaning.CLOSES:
        return replace(counted, closed_at=at, ended=alert.moment)
    if meaning is Meaning.OLD and not last.is_open:
        return replace(counted, ended=max(filter(None, (last.ended, alert.moment)), default=None))
    return replace(counted, seen_at=max(at, last.seen_at)) if meaning is Meaning.GOES_ON else counted


def _firing(last: Episode | None, alert: Alert, *, at: datetime, stale_after: timedelta) -> Meaning:
    if last is None:
        return Meaning.OPENS
    if last.is_open:
        is_stale = at - last.seen_at > stale_after and not _is_before(alert.moment, last.started)
        return Meaning.OPENS if is_stale else Meaning.GOES_ON
    if last.closed_at is not None and at - last.closed_at <= LATE and _is_news_of_before(last, alert):
        return Meaning.LATE
    return Meaning.OPENS


def _is_news_of_before(last: Episode, alert: Alert) -> bool:
    """Whether a firing alert was sent before the end we know of. Without both moments nobody can say, and it counts as new."""
    return alert.moment is not None and last.ended is not None and alert.moment <= last.ended


def _is_before(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and one < other


def _only_ended(alert: Alert, at: datetime) -> Episode:
    """Remember an end whose beginning was not heard of: a delivery of that may still be on its way."""
    return Episode(source=alert.source, alert=alert.key, number=0, ended=alert.moment, opened_at=at, seen_at=at, closed_at=at, deliveries=1)
