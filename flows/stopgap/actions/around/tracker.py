"""What a tracker must be able to do, and the one that policy.yaml names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stopgap.actions.around import site as sites

if TYPE_CHECKING:
    from collections.abc import Collection

    from stopgap.actions.contract import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A ticket: `key` is what people call it, `id` the tracker's own name where that is another."""

    key: str
    id: str
    title: str
    status: str
    url: str
    is_closed: bool
    labels: Collection[str] = ()


class Tracker(Protocol):
    """A tracker for one step."""

    @property
    def settles(self) -> float:
        """Seconds that a new ticket may take to be found."""

    def find(self, *labels: str, is_open: bool = False) -> tuple[Ticket, ...]:
        """Return the tickets that carry all of these labels, the oldest first; only those that are not closed, if `is_open`."""

    def read(self, key: str) -> Ticket:
        """Return the ticket that people call so; PermanentError when there is none."""

    def open(self, *, title: str, text: str, labels: tuple[str, str]) -> Ticket:
        """Open one, marked with the incident's label and the attempt's mark."""

    def has_said(self, ticket: Ticket, mark: str) -> bool:
        """Say whether a comment of the ticket carries this mark."""

    def comment(self, ticket: Ticket, text: str) -> None:
        """Add a comment."""

    def close(self, ticket: Ticket, text: str) -> None:
        """Close it, with a last word."""


def connect(context: Context, name: str) -> Tracker:
    """Return the tracker that policy.yaml names so."""
    found = sites.find(context, "trackers", name)
    if found.kind == "jira":
        from stopgap.actions.around.jira import JiraTracker

        return JiraTracker(context, found)
    from stopgap.actions.around.servicenow import ServiceNow

    return ServiceNow(context, found)
