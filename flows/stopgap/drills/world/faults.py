"""`Faults`: what can be asked of the sandbox to go wrong, for tests of the crash: answers that get lost or come late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Fault = Literal["lost_before", "lost_after", "late", "refused"]
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(slots=True)
class Faults:
    """The next `count` mutating requests (dry runs are none) meet this fault.

    lost_before  the connection ends and nothing was done
    lost_after   the effect is carried out, then the connection ends without an answer
    late         the effect is carried out at once, the answer comes after `seconds`
    refused      503 Service Unavailable, nothing was done
    """

    fault: Fault | None = None
    count: int = 0
    seconds: float = 0.0

    def next(self) -> Fault | None:
        """Return what the next mutating request meets, and count it."""
        if self.fault is None or self.count <= 0:
            return None
        self.count -= 1
        return self.fault
