"""A process that dies at one of its entries, without a process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopgap.timeline.entry import Appended, Draft, Timeline


class Died(BaseException):
    """As kill -9: nothing of ours is written after it."""


@dataclass(slots=True)
class Dying:
    """A timeline whose process dies at the n-th append, before or after it is durable. What is in flight beside it dies at its next one."""

    timeline: Timeline
    at: int
    durable: bool
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, draft: Draft) -> Appended:
        return self.append_all([draft])[0]

    def append_all(self, drafts: Sequence[Draft]) -> tuple[Appended, ...]:
        with self.lock:
            self.count += 1
            if self.count > self.at or (self.count == self.at and not self.durable):
                raise Died
            found = self.timeline.append_all(drafts)
            if self.count == self.at:
                raise Died
            return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.timeline, name)
