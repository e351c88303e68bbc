"""The kinds of sources, each a module with its `READER`; a new one is a module and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.alerts.sources import alertmanager

if TYPE_CHECKING:
    from stopgap.alerts.model import Reader

SIGNED = frozenset({"cloudwatch"})  # by the sender, so that there is no secret to share
READERS: dict[str, Reader] = {
    "alertmanager": alertmanager.READER,
}
