"""What an approval within bounds allows: the change stays the same, and what moves by itself may lie anywhere within limits that were shown.

Offered when an approval was void twice, because something else keeps moving what the change rests on. The limits are computed from what
was seen, and shown; nobody has to type them at three in the morning.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stopgap.approvals.model import Gate

VOIDS = 2  # after so many, bounds are offered
Bounds = dict[str, dict[str, Any]]


def offer(changes: Sequence[Mapping[str, Any]]) -> Bounds:
    """Return the bounds for the last of these changes (`Change.to_json`, one a round): for each material key that moved, `from` and `to`, or `one_of`.

    Numbers get as much room on both sides as they have moved so far. Empty when nothing can be offered: only the same change has bounds.
    """
    last = changes[-1]
    seen = [each["material"] for each in changes if each["after"] == last["after"]]
    keys = sorted({key for each in seen for key in each})
    moved = {key: [each.get(key) for each in seen] for key in keys}
    return {key: _range(values) for key, values in moved.items() if any(value != values[0] for value in values)}


def hold(gate: Gate, change: Mapping[str, Any]) -> bool:
    """Whether a change (`Change.to_json`) is the one that this gate asked about, with everything that moved within its bounds."""
    asked, bounds = gate.asks["change"], gate.bounds
    if not bounds or change["after"] != asked["after"]:
        return False
    keys = {*asked["material"], *change["material"]}
    return all(_lies(change["material"].get(key), bounds.get(key), asked["material"].get(key)) for key in keys)


def text(bounds: Bounds) -> str:
    """Return the bounds as a person reads them: `replicas from 1 to 7`."""
    return ", ".join(f"{key} {_words(limits)}" for key, limits in bounds.items())


def _words(limits: Mapping[str, Any]) -> str:
    if "one_of" in limits:
        return f"one of {', '.join(json.dumps(each, ensure_ascii=False) for each in limits['one_of'])}"
    return f"from {limits['from']} to {limits['to']}"


def _range(values: Sequence[Any]) -> dict[str, Any]:
    if not all(_is_number(value) for value in values):
        return {"one_of": [value for number, value in enumerate(values) if value not in values[:number]]}
    low, high = min(values), max(values)
    least = low - (high - low)
    return {"from": max(least, 0) if low >= 0 else least, "to": high + (high - low)}


def _lies(value: Any, limits: Mapping[str, Any] | None, asked: Any) -> bool:
    if limits is None:
        return bool(value == asked)
    if "one_of" in limits:
        return value in limits["one_of"]
    return _is_number(value) and bool(limits["from"] <= value <= limits["to"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
