"""An autoscaler is stored as autoscaling/v1 writes it, and read and written as v1 or v2."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stopgap.drills.world.kinds import Json

CPU = "targetCPUUtilizationPercentage"
_OTHERS = "sandbox.metrics"  # metrics that v1 cannot say


def to_version(version: str, stored: Json) -> Json:
    """Return the stored object as that version writes it."""
    item = copy.deepcopy(stored)
    spec = item["spec"]
    others = spec.pop(_OTHERS, [])
    if version == "v2":
        percent = spec.pop(CPU, None)
        spec["metrics"] = [*([_cpu(percent)] if percent is not None else []), *others]
        if not spec["metrics"]:
            del spec["metrics"]
    return item


def from_version(version: str, written: Json) -> Json:
    """Return what is stored for an object written in that version."""
    item = copy.deepcopy(written)
    spec = item.get("spec")
    if version == "v2" and isinstance(spec, dict):
        metrics = spec.pop("metrics", None) or []
        cpu = [metric for metric in metrics if metric == _cpu(_percent(metric))]
        if cpu:
            spec[CPU] = _percent(cpu[0])
        others = [metric for metric in metrics if metric not in cpu]
        if others:
            spec[_OTHERS] = others
    return item


def _cpu(percent: int | None) -> Json:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _percent(metric: Json) -> int | None:
    found = metric.get("resource", {}).get("target", {}).get("averageUtilization")
    return found if isinstance(found, int) else None
