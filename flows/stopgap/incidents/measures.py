"""How long it took: to detect, acknowledge, mitigate and resolve one incident. Over many incidents their means are MTTD, MTTA and MTTR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from stopgap.incidents.model import Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Each from what came before it; None for what has not happened, or of which nobody knows when.

    `detect`: from the moment since which the first alert's source says that it fires, until the incident was opened. The others count from
    when it was opened; `acknowledge` from when it was opened again, if it was.
    """

    detect: timedelta | None
    acknowledge: timedelta | None
    mitigate: timedelta | None
    resolve: timedelta | None


def of(incident: Incident) -> Measures:
    """Measure an incident."""
    opened = incident.opened_at

    def since(moment: datetime | None) -> timedelta | None:
        return moment - opened if moment else None

    began = incident.began_at
    return Measures(
        detect=opened - began if began and began <= opened else None,
        acknowledge=incident.acknowledged_at - (incident.reopened_at or opened) if incident.acknowledged_at else None,
        mitigate=since(incident.mitigated_at),
        resolve=since(incident.resolved_at),
    )
