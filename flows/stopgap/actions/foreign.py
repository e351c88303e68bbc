"""Actions of other packages: those that name theirs by the entry point group `stopgap.actions` (name = "package.module:Class").

Reading every installed package's metadata takes a tenth of a second, importing what reads it included. So it is done only when some package on
the path has such a group, which the files themselves tell in milliseconds.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stopgap.actions.catalogue import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GROUP = "stopgap.actions"


@dataclass(frozen=True, slots=True)
class Foreign:
    """An action of another package, and which."""

    place: Place
    package: str

    def __str__(self) -> str:
        """Render for people: `the package flags 1.0 (stopgap_flags:SetFlag)`."""
        return f"the package {self.package} ({self.place.module}:{self.place.name})"


@functools.cache
def actions() -> Mapping[str, tuple[Foreign, ...]]:
    """Return name -> every installed package's action of that name; more than one is a mistake that `registry` tells."""
    if not any(f"[{GROUP}]".encode() in path.read_bytes() for path in _lists()):
        return {}
    from importlib import metadata

    found: dict[str, tuple[Foreign, ...]] = {}
    for point in metadata.entry_points(group=GROUP):
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "that is not known"
        found[point.name] = (*found.get(point.name, ()), Foreign(Place(point.module, point.attr), package))
    return found


def _lists() -> Iterator[Path]:
    """Yield the installed packages' lists of entry points; a package inside a zip file is not looked for."""
    for folder in dict.fromkeys(sys.path):
        for kind in ("dist", "egg"):
            yield from Path(folder).glob(f"*.{kind}-info/entry_points.txt")
