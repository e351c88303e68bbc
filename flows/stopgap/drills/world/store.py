"""`Store`: the objects of the sandbox's cluster, each with its resourceVersion, uid and generation."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING

from stopgap.drills.world.kinds import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from stopgap.drills.world.kinds import Json, Kind


def stamp(moment: datetime) -> str:
    """Return a time as the Kubernetes API writes it: to the second, in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """Objects by kind, namespace and name. What it hands out belongs to the store: copy before you change it."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], Json] = {}
        self.version = 1000  # the resourceVersion of the last write
        self.due: dict[tuple[str, str], datetime] = {}  # when a Pod (namespace, name) gets ready or is gone
        self._made = 0

    def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """Return an object, or None."""
        return self._objects.get((kind.plural, namespace, name))

    def list(self, kind: Kind, namespace: str = "") -> list[Json]:
        """Return the objects of a kind by namespace and name; without a namespace, of all namespaces."""
        found = [key for key in self._objects if key[0] == kind.plural and namespace in ("", key[1])]
        return [self._objects[key] for key in sorted(found)]

    def owned(self, kind: Kind, owner: Json) -> Iterator[Json]:
        """Yield the objects of a kind that this object controls."""
        uid = owner["metadata"]["uid"]
        for item in self.list(kind, owner["metadata"].get("namespace", "")):
            if any(reference["uid"] == uid for reference in item["metadata"].get("ownerReferences", ())):
                yield item

    def create(self, kind: Kind, item: Json, at: datetime) -> Json:
        """Store a new object with its server-side metadata, and return it."""
        item = self.dressed(kind, item, at)
        self._made += 1
        return self._write(kind, item)

    def dressed(self, kind: Kind, item: Json, at: datetime) -> Json:
        """Return a copy of a new object with the metadata a server gives; nothing is stored."""
        item = copy.deepcopy(item)
        metadata = item.setdefault("metadata", {})
        seed = f"{kind.plural}/{metadata.get('namespace')}/{metadata.get('name')}/{self._made}"
        digest = hashlib.sha256(seed.encode()).hexdigest()
        metadata["uid"] = f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
        metadata.setdefault("creationTimestamp", stamp(at))
        metadata.pop("resourceVersion", None)
        if kind.has_generation:
            metadata["generation"] = 1
        return item

    def replace(self, kind: Kind, item: Json) -> Json:
        """Store an object's next state; one that is equal to the present state keeps its resourceVersion."""
        item = copy.deepcopy(item)
        present = self._objects[self._key(kind, item)]
        item["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"]
        return present if item == present else self._write(kind, item)

    def delete(self, kind: Kind, item: Json) -> None:
        """Remove an object; nothing happens when it is gone already."""
        if self._objects.pop(self._key(kind, item), None) is not None:
            self.version += 1

    def _write(self, kind: Kind, item: Json) -> Json:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self._objects[self._key(kind, item)] = item
        return item

    @staticmethod
    def _key(kind: Kind, item: Json) -> tuple[str, str, str]:
        metadata = item["metadata"]
        return kind.plural, metadata.get("namespace", "") if kind.namespaced else "", metadata["name"]

    def has_namespace(self, name: str) -> bool:
        """Say whether a namespace exists."""
        return self.get(NAMESPACES, "", name) is not None
