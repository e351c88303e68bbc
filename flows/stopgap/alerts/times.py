"""Moments as the sources write them: RFC 3339 with any fraction, `+0000`, and epochs in seconds, milliseconds or nanoseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

_NEVER = 1  # Go writes its zero time as year 0001, and means: not yet
# An epoch above this is of the next finer unit: seconds until the year 5138, milliseconds, microseconds, nanoseconds.
_FINEST = 1e11


def moment(value: Any) -> datetime | None:
    """Return the moment in UTC; None for none, for Go's zero time, and for what is no time: an alert is not lost for its clock."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", value):
        value = float(value)
    try:
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            return _epoch(float(value))
        return _written(value.strip()) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None


def _epoch(value: float) -> datetime | None:
    if value <= 0:
        return None
    while value >= _FINEST:
        value /= 1000
    return datetime.fromtimestamp(value, UTC)


def _written(value: str) -> datetime | None:
    found = datetime.fromisoformat(value)
    if found.year <= _NEVER:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
