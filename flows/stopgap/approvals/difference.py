"""What moved between two questions about one step: what a second question shows, so that nobody approves what they have not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SAID = {"now": " now", "after": " after", "material": "", "arguments": ""}


def between(before: Mapping[str, Any], asks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return `{"what", "was", "is"}` for everything in which the second question (`Gate.asks`) differs from the first."""
    found = list(_moved("arguments", before.get("arguments", {}), asks["arguments"]))
    for part in ("now", "after", "material"):
        moved = _moved(part, before["change"][part], asks["change"][part])
        # What now is material stands in both: it is told once.
        found += [each for each in moved if part != "material" or {**each, "what": f"{each['what']} now"} not in found]
    return found


def _moved(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) != new.get(key):
            yield {"what": f"{key}{_SAID[part]}", "was": old.get(key), "is": new.get(key)}
