"""`limits` of policy.yaml: how far a step may go, where, how fast and when."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from stopgap.policy.model import Freeze, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.document import Document
    from stopgap.problems import Problem


def read(value: Mapping[str, Any]) -> Limits:
    """Read the limits from what the schema has let pass."""

    def places(key: str) -> tuple[str, ...] | None:
        return tuple(value[key]) if key in value else None

    return Limits(
        namespaces=places("namespaces"),
        nodes=places("nodes"),
        clusters=places("clusters"),
        accounts=places("accounts"),
        regions=places("regions"),
        max_replicas=value.get("max_replicas"),
        max_shift=value.get("max_shift"),
        steps_per_hour=value.get("steps_per_hour"),
        freezes=tuple(map(_freeze, value.get("freezes", ()))),
    )


def _freeze(value: Mapping[str, Any]) -> Freeze:
    begins, ends = (datetime.fromisoformat(value[key]) for key in ("from", "until"))
    return Freeze(begins=begins, ends=ends, reason=value["reason"], allowed=tuple(value.get("except", ())))


def problems(found: Document) -> Iterator[Problem]:
    """Name the freezes whose times cannot be."""
    for index, freeze in enumerate(found.data.get("limits", {}).get("freezes", [])):
        moments = {}
        for key in ("from", "until"):
            try:
                moments[key] = datetime.fromisoformat(freeze[key])
            except ValueError:
                path = ("limits", "freezes", index, key)
                yield found.problem(
                    path, f'"{freeze[key]}" is no moment that there is', "bad-time", hint="write it like 2026-12-20T00:00:00Z"
                )
        if len(moments) == 2 and moments["until"] <= moments["from"]:  # noqa: PLR2004  both could be read
            yield found.problem(
                ("limits", "freezes", index, "until"), "the freeze ends before it begins", "bad-time", hint="exchange them?"
            )
