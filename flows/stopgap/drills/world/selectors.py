"""Label and field selectors, as they stand in a query: `app=web,track in (stable, canary),!old`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from stopgap.drills.world import refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stopgap.drills.world.kinds import Json

_TERM = re.compile(
    r"\s*(?:(?P<absent>!\s*)?(?P<key>[\w./-]+))\s*(?:(?P<operator>==|=|!=|\bin\b|\bnotin\b)\s*(?P<value>\([^)]*\)|[\w.-]*))?\s*(?:,|$)"
)


def labels(text: str) -> Callable[[Mapping[str, str]], bool]:
    """Return a test of an object's labels; Refusal 400 when the selector cannot be read."""
    terms = list(_terms(text))
    return lambda found: all(term(found) for term in terms)


def _terms(text: str) -> list[Callable[[Mapping[str, str]], bool]]:
    terms, place = [], 0
    while place < len(text):
        match = _TERM.match(text, place)
        if match is None or match.end() == place:
            raise refusals.bad_request(f'unable to parse requirement: found "{text[place:]}"')
        terms.append(_term(match))
        place = match.end()
    return terms


def _term(match: re.Match[str]) -> Callable[[Mapping[str, str]], bool]:
    key, operator = match["key"], match["operator"]
    values = {value.strip() for value in (match["value"] or "").strip("()").split(",")}
    if operator is None:
        return (lambda found: key not in found) if match["absent"] else (lambda found: key in found)
    if operator in ("=", "==", "in"):
        return lambda found: found.get(key) in values
    return lambda found: found.get(key) not in values


def fields(text: str) -> Callable[[Json], bool]:
    """Return a test of an object's fields: `metadata.name=web`, `status.phase!=Running`."""
    terms = [re.fullmatch(r"([\w.]+)(==|=|!=)(.*)", term.strip()) for term in text.split(",") if term]
    if not all(terms):
        raise refusals.bad_request(f'invalid field selector "{text}"')
    return lambda item: all((str(_field(item, term[1])) == term[3]) == (term[2] != "!=") for term in terms if term)


def _field(item: Json, path: str) -> Any:
    value: Any = item
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return value


def matches(selector: Mapping[str, str], found: Mapping[str, str]) -> bool:
    """Say whether labels satisfy an equality selector, as a Service or `matchLabels` holds it; an empty selector matches nothing."""
    return bool(selector) and all(found.get(key) == value for key, value in selector.items())
