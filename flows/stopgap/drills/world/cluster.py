"""`Cluster`: the sandbox's cluster as it moves through time. Nothing runs in the background: every look first lets the past happen.

Each thing that takes time is due at a moment (a Pod gets ready, a controller sees a write, the autoscaler looks, a rollout runs late).
`advance` lets everything happen that was due, in order and each at its own moment, so that the outcome does not depend on who looks when.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from stopgap.drills.world import kinds, pods, progress, rollout, wiring
from stopgap.drills.world.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.drills.world.kinds import Json

_PASSES = 50  # a pass changes something or is the last; a cluster that never settles would be a bug of ours


class Cluster:
    """The objects, and the controllers that move them. Not safe for threads: the server holds a lock around each request."""

    def __init__(self, *, at: datetime, pace: pods.Pace | None = None) -> None:
        self.store = Store()
        self.pace = pace or pods.Pace()
        self.at = at
        self._look: datetime | None = None
        self._autoscaler_look: datetime | None = None

    def advance(self, now: datetime) -> None:
        """Let everything happen that was due until now."""
        while (due := min(self._dues(), default=None)) is not None and due <= now:
            self.at = max(self.at, due)
            self._act()
        self.at = max(self.at, now)

    def written(self) -> None:
        """Tell the controllers that somebody wrote; they look a little later, and the autoscaler after its period."""
        self._look = self._look or self.at + self.pace.lag
        if self.store.list(kinds.AUTOSCALERS):
            self._autoscaler_look = self._autoscaler_look or self.at + self.pace.autoscaler

    def _dues(self) -> Iterator[datetime]:
        yield from self.store.due.values()
        yield from (moment for moment in (self._look, self._autoscaler_look) if moment is not None)
        for deployment in self.store.list(kinds.DEPLOYMENTS):
            late = _late_at(deployment)
            if late is not None:
                yield late

    def _act(self) -> None:
        for (namespace, name), due in sorted(self.store.due.items()):
            if due <= self.at:
                del self.store.due[namespace, name]
                pod = self.store.get(kinds.PODS, namespace, name)
                if pod is not None:
                    pods.take_turn(self.store, pod, self.at)
        if self._autoscaler_look is not None and self._autoscaler_look <= self.at:
            self._autoscaler_look = None
            for autoscaler in self.store.list(kinds.AUTOSCALERS):
                wiring.sync_autoscaler(self.store, autoscaler)
        if self._look is not None and self._look <= self.at:
            self._look = None
        self._settle()

    def _settle(self) -> None:
        for _ in range(_PASSES):
            before = self.store.version
            self._pass()
            if self.store.version == before:
                return

    def _pass(self) -> None:
        store = self.store
        for deployment in store.list(kinds.DEPLOYMENTS):
            rollout.sync(store, deployment, self.at)
        for replica_set in store.list(kinds.REPLICA_SETS):
            pods.sync(store, replica_set, self.at, self.pace)
        for deployment in store.list(kinds.DEPLOYMENTS):
            progress.report(store, deployment, self.at)
        for service in store.list(kinds.SERVICES):
            wiring.sync_endpoints(store, service, self.at)

    def remove(self, kind: kinds.Kind, item: Json) -> None:
        """Delete an object and everything it controls; a namespace takes along what is in it."""
        if kind is kinds.NAMESPACES:
            for each in (entry for entry in kinds.KINDS if entry.namespaced):
                for inner in self.store.list(each, item["metadata"]["name"]):
                    self.store.delete(each, inner)
        for each in (kinds.REPLICA_SETS, kinds.PODS) if kind in (kinds.DEPLOYMENTS, kinds.REPLICA_SETS) else ():
            for owned in list(self.store.owned(each, item)):
                self.remove(each, owned)
        if kind is kinds.SERVICES:
            self.store.delete(kinds.ENDPOINTS, item)
        self.store.delete(kind, item)


def _late_at(deployment: Json) -> datetime | None:
    """When an unfinished rollout that stands still gets its ProgressDeadlineExceeded."""
    conditions = deployment.get("status", {}).get("conditions", ())
    found = next((item for item in conditions if item["type"] == "Progressing"), None)
    if found is None or found["reason"] != "ReplicaSetUpdated" or progress.is_complete(deployment):
        return None
    patience = timedelta(seconds=deployment["spec"]["progressDeadlineSeconds"])
    return datetime.fromisoformat(found["lastUpdateTime"]) + patience
