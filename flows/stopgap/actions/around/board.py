"""What a status page must be able to do, and the one that policy.yaml names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from stopgap.actions.around import site as sites

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Context

Status = Literal["investigating", "identified", "monitoring", "resolved"]
Health = Literal["operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What a page says of our incident: `message` is its newest update, `mark` that of the attempt that wrote it."""

    id: str = ""
    status: str = "none"
    message: str = "none"
    mark: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What shall stand there. `label` tells the incident from others, `mark` this attempt."""

    title: str
    status: str
    message: str
    label: str
    mark: str
    components: Mapping[str, str] = field(default_factory=dict)


class Board(Protocol):
    """A status page for one step."""

    def read(self, label: str) -> Post:
        """Return the newest post of the incident, resolved or not; one that says "none" when there is none."""

    def components(self, names: tuple[str, ...]) -> Mapping[str, str]:
        """Return how these components are; PermanentError when the page has no such."""

    def write(self, post: Post, update: Update) -> Post:
        """Add an update to the post, or make the first one."""


def connect(context: Context, name: str) -> Board:
    """Return the page that policy.yaml names so."""
    found = sites.find(context, "status_pages", name)
    if found.kind == "file":
        from stopgap.actions.around.status_file import StatusFile

        return StatusFile(context, found)
    from stopgap.actions.around.statuspage import Statuspage

    return Statuspage(context, found)
