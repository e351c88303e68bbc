"""Shares of traffic: how much of it moves when weights change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Return each backend's part of the traffic, in percent; all nothing when the weights are."""
    total = sum(weights.values())
    return {name: 100 * weight / total if total else 0.0 for name, weight in weights.items()}


def moved(now: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Return the largest part of the traffic, in percent, that one backend gains or loses."""
    before, behind = shares(now), shares(after)
    return round(max((abs(behind.get(name, 0.0) - before.get(name, 0.0)) for name in {*before, *behind}), default=0.0), 2)


def show(weights: Mapping[str, float]) -> str:
    """Render for people: `blue 90 %, green 10 %`."""
    return ", ".join(f"{name} {share:.4g} %" for name, share in shares(weights).items())
