"""The closed set of entry kinds, read from schemas/entry.schema.json: one sentence each, and a new one needs no code."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from stopgap import schema
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Mapping

SEALED = "chain.sealed"  # the one kind the timeline writes by itself


class EntryError(StopgapError):
    """An entry cannot be written as it is."""


@functools.cache
def sentences() -> Mapping[str, str]:
    """Each kind and the sentence that says what it means, in the schema's order."""
    return {kind["const"]: kind["description"] for kind in schema.load("entry")["properties"]["kind"]["oneOf"]}


def require_known(kind: str) -> None:
    """EntryError when the kind is not one of the closed set."""
    if kind not in sentences():
        raise EntryError(f'"{kind}" is not a kind of timeline entry. The kinds are {", ".join(sentences())} (schemas/entry.schema.json).')
