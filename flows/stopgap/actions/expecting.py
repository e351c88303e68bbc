"""What an answer shall look like: its status, and values at places of its JSON that are named by JSON Pointers (RFC 6901)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.actions.exchange import Answer

Pointer = Annotated[str, Field(pattern=r"^(/([^~]|~[01])*)?$", max_length=500)]
Expect = Annotated[
    dict[Pointer, Any],
    Field(description='Values that its JSON shall have, by JSON Pointer: "/queue/state": drained, "/nodes/0/up": true.'),
]
Status = Annotated[int, Field(ge=100, le=599)]
MISSING = object()
_LONGEST = 200


def faults(answer: Answer, *, status: int | None, expect: Mapping[str, Any]) -> Iterator[str]:
    """Say in what the answer is not as it shall be; without a status any of 200 to 299 is good."""
    is_good = 200 <= answer.status < 300 if status is None else answer.status == status  # noqa: PLR2004  what HTTP calls a success
    if not is_good:
        yield f"the status is {answer.status}{f' (to {answer.location})' if answer.location else ''} instead of {wanted(status)}"
        return
    body = answer.body if expect else None
    for pointer, value in expect.items():
        found = at(body, pointer)
        if found is MISSING:
            yield f"the answer has nothing at {pointer or 'its root'}"
        elif found != value or isinstance(found, bool) != isinstance(value, bool):
            yield f"{pointer or 'the answer'} is {_show(found)} instead of {_show(value)}"


def wanted(status: int | None) -> str:
    """Render for people which status is good."""
    return "200 to 299" if status is None else str(status)


def at(body: Any, pointer: str) -> Any:
    """Return what stands at a place, or MISSING."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(body, dict) and key in body:
            body = body[key]
        elif isinstance(body, list) and key.isdecimal() and int(key) < len(body):
            body = body[int(key)]
        else:
            return MISSING
    return body


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
