"""Files that are kept with an incident: a graph, a log, a screenshot. Their hash and size stand on the timeline."""

from __future__ import annotations

import hashlib
from pathlib import PurePath
from typing import TYPE_CHECKING

from stopgap.problems import UsageError
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from stopgap.incidents.model import Incident
    from stopgap.timeline.entry import Entry
    from stopgap.timeline.store import PostgresTimeline

MOST_BYTES = 10_000_000
_LONGEST = 200


class TooBigError(UsageError):
    """The file is too big to be kept."""


def attach(timeline: PostgresTimeline, incident: Incident, *, person: str, name: str, content: bytes) -> Entry:
    """Keep a file, once under each name; the content first, so that the entry never names what is not there."""
    if len(content) > MOST_BYTES:
        raise TooBigError(
            f"{name} has {len(content):,} bytes, and at most {MOST_BYTES:,} are kept. Attach a part of it, or write down where it is."
        )
    kept = PurePath(name).name[:_LONGEST] or "file"
    sha256 = timeline.files.keep(content)
    text = f"{person} attached {kept} ({len(content):,} bytes, SHA-256 {sha256[:16]}...)"
    data = {"name": kept, "size": len(content), "sha256": sha256}
    named = hashlib.sha256(kept.encode()).hexdigest()[:16]
    key = f"attachment.added/{incident.id}/{sha256}/{named}"
    draft = Draft(chain=incident.id, incident=incident.id, kind="attachment.added", actor=person, text=text, key=key, data=data)
    return timeline.append(draft).entry
