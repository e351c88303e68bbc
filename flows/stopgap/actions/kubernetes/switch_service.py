"""`kubernetes.switch_service`: point a Service at other Pods."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.contract import (
    Action,
    Change,
    Context,
    Effect,
    InDoubtError,
    Outcome,
    PermanentError,
    Probe,
    Risk,
    Target,
    TemporaryError,
    Undoes,
    action,
)
from stopgap.actions.kubernetes import needs, objects, pods
from stopgap.actions.kubernetes.answers import ForbiddenError, NotFoundError
from stopgap.actions.kubernetes.client import JSON, Client, connect

PAUSE = 0.2  # seconds between two looks at the Service's endpoints


@action
class SwitchService:
    """Change the selector of a Service, so that its traffic goes to other Pods. Labels that are not named here stay as they are."""

    name: ClassVar[str] = "kubernetes.switch_service"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=2)
    permissions: ClassVar[Mapping[str, Any]] = {
        "kubernetes": [
            needs.on("", "services", "service", "get", "patch"),
            needs.listing("", "pods"),
            needs.listing("", "services", optional=needs.NEAR_NAMES),
            {**needs.on("", "endpoints", "service", "get"), "optional": "the switch counts as done before its endpoints have followed"},
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"ready": "how many ready Pods the new selector matches"}

    cluster: fields.Cluster
    namespace: fields.Namespace
    service: Annotated[fields.ObjectName, Field(description="The Service's name.")]
    selector: Annotated[
        dict[str, str | None], Field(min_length=1, description="Labels that the Pods must have; null takes a label out of the selector.")
    ]

    def targets(self) -> frozenset[Target]:
        """The Service."""
        return frozenset({objects.target(cluster=self.cluster, namespace=self.namespace, kind="service", name=self.service)})

    def plan(self, context: Context) -> Change:
        """Read the Service, refuse a selector without ready Pods, and let the server try the change."""
        with connect(context, self.cluster) as api:
            found = objects.read(api, "services", self.namespace, self.service)
            now = self._selector(found)
            after = {key: value for key, value in {**now, **self.selector}.items() if value is not None}
            ready = self._ready(api, after)
            checked, notes = objects.check(api, self._path(), self._patch(api, version=""))
        return Change(
            summary=f"{self.service}: traffic from {_show(now)} to {_show(after)} ({len(ready)} ready Pods)",
            now=_flat(now, after),
            after=_flat(after, now),
            material={"selector": now},
            checked=checked,
            undo={"selector": {**dict.fromkeys(after), **now}, "after": after},
            precondition=found["metadata"]["resourceVersion"],
            notes=notes,
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the selector and wait until the Service's endpoints are Pods that it matches."""
        after = change.undo["after"]
        with connect(context, self.cluster) as api:
            self._ready(api, after)
            if not change.is_empty:
                api.patch(self._path(), self._patch(api, version=change.precondition), dry_run=False)
            ready = self._wait(api, after)
        return Outcome(changed=not change.is_empty, summary=f"{self.service}: traffic goes to {_show(after)}", data={"ready": ready})

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the Service and compare its selector."""
        with connect(context, self.cluster) as api:
            found = objects.read(api, "services", self.namespace, self.service)
        if objects.mark_of(found) != context.mark:
            return Probe.NOT_DONE
        return Probe.DONE if self._selector(found) == change.undo["after"] else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Switch back to the selector that was."""
        if change.is_empty:
            return None
        return SwitchService(cluster=self.cluster, namespace=self.namespace, service=self.service, selector=dict(change.undo["selector"]))

    def _path(self) -> str:
        return objects.path_of("services", self.namespace, self.service)

    def _patch(self, api: Client, *, version: str) -> JSON:
        return {"metadata": objects.marked(api, version=version), "spec": {"selector": dict(self.selector)}}

    def _selector(self, found: JSON) -> dict[str, str]:
        selector = found["spec"].get("selector")
        if not selector:
            raise PermanentError(f"{self.service} has no selector: its endpoints are kept by hand, and a selector would replace them all.")
        return dict(selector)

    def _ready(self, api: Client, selector: Mapping[str, str]) -> set[str]:
        if not selector:
            raise PermanentError(f"{self.service}: this would leave it without any selector. Name at least one label.")
        labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
        found = api.get(objects.collection("pods", self.namespace), labelSelector=labels)["items"]
        ready = {str(pod["status"].get("podIP", "")) for pod in found if pods.is_ready(pod)}
        if not ready:
            raise PermanentError(
                f"{self.service}: no ready Pod has the labels {_show(selector)} ({len(found)} have them and are not ready); traffic would go nowhere."
            )
        return ready

    def _wait(self, api: Client, selector: Mapping[str, str]) -> int:
        while True:
            try:
                ready, addresses = self._ready(api, selector), self._addresses(api)
                if addresses is None or (addresses and addresses <= ready):
                    return len(ready)
            except TemporaryError:  # the change has been sent: an API server that is away is waited for
                pass
            if api.context.seconds_left() <= PAUSE:
                raise InDoubtError(
                    f"{self.service}: its endpoints were not yet the Pods of {_show(selector)} when the step's deadline passed."
                )
            api.context.clock.sleep(PAUSE)

    def _addresses(self, api: Client) -> set[str] | None:
        try:
            found = api.get(objects.path_of("endpoints", self.namespace, self.service))
        except (ForbiddenError, NotFoundError):
            return None  # these credentials may not see them: the selector itself is what we know
        return {str(address["ip"]) for subset in found.get("subsets") or () for address in subset.get("addresses") or ()}


def _flat(selector: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    return {f"selector {key}": selector.get(key, "-") for key in sorted({*selector, *other})}


def _show(selector: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
