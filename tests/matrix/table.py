"""The page of the results: how many points of each action were tried, which part was killed there, and what came of it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from matrix.cases import CASES
from matrix.control import Point

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

BEGIN = "<!-- the matrix begins -->"
END = "<!-- the matrix ends -->"
# A run that sleeps at a gate has no process; so no child is killed there.
PARTS = ("child", "worker", "server", "postgres")
STEPS = {"": "the run", "act": "the step", "act.undo": "its undo", "fail": "a step that fails"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A run that lost a part at a point, and ended as it would have; `asked` says that it asked the incident commander first.

    `missed`: the run that nobody killed came to this point, and no other did.
    """

    part: str
    action: str
    point: Point | str
    where: str
    asked: bool = False
    missed: bool = False
    day: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())


def remember(path: Path, results: Sequence[Result]) -> list[Result]:
    """Return the results with those that earlier runs of the tests found for other actions and parts, and keep them all for the next."""
    earlier = [_of_json(each) for each in json.loads(path.read_text())] if path.exists() else []
    new = {(each.part, each.action) for each in results}
    found = [*(each for each in earlier if (each.part, each.action) not in new), *results]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([asdict(each) for each in found]))
    return found


def _of_json(said: dict[str, Any]) -> Result:
    point = said["point"]
    return Result(**{**said, "point": point if isinstance(point, str) else Point(**point)})


def write(page: Path, results: Sequence[Result]) -> None:
    """Put the tables between their marks on the page; the rest of it stays as it is."""
    text = page.read_text() if page.exists() else f"# Reliability\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{tables(results)}\n\n{END}{after}")


def tables(results: Sequence[Result]) -> str:
    """Return both tables as Markdown."""
    missed = sorted({f"{each.point} (`{each.action}`, {each.part})" for each in results if each.missed})
    results = [each for each in results if not each.missed]
    asked = sum(each.asked for each in results)
    days = sorted({each.day for each in results})
    summary = (
        f"{len(results)} kills (SIGKILL), at {len({(each.action, each.point) for each in results})} points of {len({each.action for each in results})} actions, "
        f"{' to '.join(dict.fromkeys([days[0], days[-1]]))}. Every run ended as the run that nobody killed; after {asked} of the kills it asked the incident commander first. "
        "Effects lost: 0. Effects done twice: 0."
    )
    if missed:
        summary += f" Points to which only the run that nobody killed came: {'; '.join(missed)}."
    return "\n\n".join([summary, _by_action(results), _by_point(results)])


def _by_action(results: Sequence[Result]) -> str:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    places: dict[str, set[str]] = defaultdict(set)
    for each in results:
        found[each.action][each.part] += 1
        found[each.action]["asked"] += each.asked
        places[each.action].add(each.where)
    rows = [
        [f"`{action}`", *(str(counts[part] or "") for part in PARTS), str(counts["asked"] or ""), _counted(action, places[action])]
        for action, counts in sorted(found.items())
    ]
    return _table(["action", *PARTS, "asked", "effects counted at"], rows)


def _counted(action: str, places: Iterable[str]) -> str:
    case = CASES[action]
    times = {0: "none", 1: "one", 2: "one, and one undo"}.get(case.effects, str(case.effects))
    return f"{case.counted} ({', '.join(sorted(filter(None, places)))}): {times}" if any(places) else f"{case.counted}: {times}"


def _by_point(results: Sequence[Result]) -> str:
    found: dict[tuple[str, str], Counter[str]] = {}
    for each in results:
        counts = found.setdefault(_named(each.point), Counter())
        counts[each.part] += 1
        counts["asked"] += each.asked
    order = list(STEPS.values())
    rows = [
        [step, what, *(str(counts[part] or "") for part in PARTS), str(counts["asked"] or "")]
        for (step, what), counts in sorted(found.items(), key=lambda item: order.index(item[0][0]))
    ]
    return _table(["in", "killed", *PARTS, "asked"], rows)


def _named(point: Point | str) -> tuple[str, str]:
    if isinstance(point, str):
        return STEPS[point], "while it sleeps at its gate"
    again = f", time {point.number}" if point.number > 1 else ""
    return STEPS[point.step], f"{point.when} {point.what}{again}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
