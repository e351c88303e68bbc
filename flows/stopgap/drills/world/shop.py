"""The shop that runs on the sandbox's cluster: how fast it answers follows from traffic, ready Pods and their release.

Each ready Pod behind the Service takes an equal share of the traffic. Below its capacity a Pod answers after its base time, stretched by
queueing (1 / (1 - load), the mean of an M/M/1 queue); above it the queue is full: answers take `TIMEOUT`, and what exceeds the capacity is refused.
A bad release has a long base time, and no number of Pods makes that shorter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stopgap.drills.world import kinds, pods, wiring

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.drills.world.store import Store

TIMEOUT = 2.0  # seconds; a full queue answers, or gives up, after so long
_FULL = 0.98  # load from which the queue counts as full


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """How one version of the shop behaves: seconds per request on an idle Pod, requests a second one Pod can take, share that fails."""

    seconds: float = 0.04
    capacity: float = 20.0
    errors: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the shop does at the moment; `latency` in seconds, `errors` and `load` as shares (a load above 1 is too much)."""

    latency: float
    errors: float
    load: float
    ready: int
    release: str


@dataclass(slots=True)
class Shop:
    """The shop's traffic and releases. An image without a `Release` of its own behaves like a good one."""

    namespace: str = "shop"
    rps: float = 0.0
    releases: Mapping[str, Release] = field(default_factory=dict)
    _owed: float = 0.0

    def read(self, store: Store, service: str) -> Reading | None:
        """Return how a service of the shop does; None when there is no such Service."""
        found = store.get(kinds.SERVICES, self.namespace, service)
        if found is None:
            return None
        images = [pods.images_of(pod)[0] for pod in wiring.behind(store, found) if pods.is_ready(pod)]
        if not images:
            return Reading(latency=0.0, errors=1.0, load=0.0, ready=0, release="")
        return self._average(images)

    def _average(self, images: list[str]) -> Reading:
        share = self.rps / len(images)
        each = [_on_one(self.releases.get(image, Release()), share) for image in images]
        count = len(each)
        return Reading(
            latency=sum(latency for latency, _, _ in each) / count,
            errors=sum(errors for _, errors, _ in each) / count,
            load=sum(load for _, _, load in each) / count,
            ready=count,
            release=", ".join(sorted(set(images))),
        )

    def fails(self, errors: float) -> bool:
        """Say whether the next request fails, so that exactly this share of them does, spread evenly."""
        self._owed += errors
        if self._owed < 1:
            return False
        self._owed -= 1
        return True


def _on_one(release: Release, rps: float) -> tuple[float, float, float]:
    """Return latency, share of errors and load of one Pod."""
    load = rps / release.capacity
    if load >= _FULL:
        refused = max(0.0, 1 - 1 / load)
        return TIMEOUT, min(1.0, release.errors + refused), load
    return min(TIMEOUT, release.seconds / (1 - load)), release.errors, load
