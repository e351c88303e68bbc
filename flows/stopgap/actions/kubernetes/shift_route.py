"""`kubernetes.shift_route`: move traffic between backends by the weights of an HTTPRoute or a VirtualService."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields, shifting
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action
from stopgap.actions.kubernetes import needs, objects, routes, watching
from stopgap.actions.kubernetes.client import JSON, Client, connect

Weight = Annotated[int, Field(ge=0, le=1_000_000)]


@action
class ShiftRoute:
    """Move traffic between the backends of a route by their weights: a Gateway API HTTPRoute, or an Istio VirtualService."""

    name: ClassVar[str] = "kubernetes.shift_route"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "depends"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=2)
    permissions: ClassVar[Mapping[str, Any]] = {
        "kubernetes": [
            needs.on(kind.group, kind.plural, field, "get", "patch")
            for kind, field in ((routes.HTTP_ROUTE, "httproute"), (routes.VIRTUAL_SERVICE, "virtualservice"))
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"moved": "the largest part of the traffic, in percent, that one backend gained or lost"}

    cluster: fields.Cluster
    namespace: fields.Namespace
    httproute: Annotated[fields.ObjectName | None, Field(description="The name of a Gateway API HTTPRoute.")] = None
    virtualservice: Annotated[fields.ObjectName | None, Field(description="The name of an Istio VirtualService.")] = None
    weights: Annotated[
        dict[str, Weight],
        Field(min_length=1, description="Every backend of the rule and its weight; in a VirtualService a backend is host or host/subset."),
    ]
    rule: Annotated[
        int | None, Field(ge=1, description="Which rule, counted from 1; when left out, every rule with just these backends.")
    ] = None

    def __post_init__(self) -> None:
        """Refuse what leaves open which route is meant, and weights that add up to nothing."""
        if (self.httproute is None) == (self.virtualservice is None):
            raise ValueError('give either "httproute" or "virtualservice"')
        if not sum(self.weights.values()):
            raise ValueError("every weight is 0: traffic would go nowhere")

    def targets(self) -> frozenset[Target]:
        """The route."""
        kind = self._kind.plural.removesuffix("s")
        return frozenset({objects.target(cluster=self.cluster, namespace=self.namespace, kind=kind, name=self._name)})

    def plan(self, context: Context) -> Change:
        """Read the route, find the rules, and let the server try the change."""
        with connect(context, self.cluster) as api:
            path, found = self._read(api)
            chosen = self._choose(found)
            checked, notes = objects.check(api, path, self._patch(api, found, chosen, version=""))
        now = {f"rule {rule.number}: {name}": weight for rule in chosen for name, weight in rule.weights.items()}
        after = {f"rule {rule.number}: {name}": self.weights[name] for rule in chosen for name in rule.weights}
        shift = max(shifting.moved(rule.weights, self.weights) for rule in chosen)
        return Change(
            summary=f"{self._name}: traffic from {shifting.show(chosen[0].weights)} to {shifting.show(self._ordered(chosen[0]))}",
            now=now,
            after=after,
            material=now,
            checked=checked,
            undo={"weights": {str(rule.number): dict(rule.weights) for rule in chosen}},
            precondition=found["metadata"]["resourceVersion"],
            notes=(*notes, *self._told(found)),
            measures={"shift": shift},
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the weights, and wait until every gateway that reports on the route has taken them up."""
        with connect(context, self.cluster) as api:
            path, found = self._read(api)
            if not change.is_empty:
                api.patch(path, self._patch(api, found, self._choose(found), version=change.precondition), dry_run=False)
            seen = watching.until(context, lambda: self._look(api), what=self._name)
        return Outcome(
            changed=not change.is_empty, summary=f"{change.summary}; {seen.words}", data={"moved": change.measures.get("shift", 0.0)}
        )

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the route, compare its weights, then look whether the gateways have taken them up."""
        with connect(context, self.cluster) as api:
            _, found = self._read(api)
            return objects.probe(api, found, is_ours=self._is_as_wanted, is_done=routes.is_taken_up)

    def undo(self, change: Change) -> Action | None:
        """Give the backends the weights that they had; rules that had different ones are put back one by one by hand."""
        before: list[dict[str, int]] = list(change.undo["weights"].values())
        if change.is_empty or any(weights != before[0] for weights in before):
            return None
        return ShiftRoute(
            cluster=self.cluster,
            namespace=self.namespace,
            httproute=self.httproute,
            virtualservice=self.virtualservice,
            weights=before[0],
            rule=self.rule,
        )

    @property
    def _kind(self) -> routes.Kind:
        return routes.HTTP_ROUTE if self.httproute else routes.VIRTUAL_SERVICE

    @property
    def _name(self) -> str:
        return self.httproute or self.virtualservice or ""

    def _read(self, api: Client) -> tuple[str, JSON]:
        return routes.read(api, self._kind, self.namespace, self._name)

    def _choose(self, found: JSON) -> list[routes.Rule]:
        there = routes.rules(self._kind, found)
        chosen = [it for it in there if set(it.weights) == set(self.weights) and self.rule in {None, it.number}]
        if not chosen:
            listed = "; ".join(f"rule {it.number} has {', '.join(it.weights)}" for it in there) or "it has none"
            which = f"rule {self.rule}" if self.rule else "a rule"
            raise PermanentError(f"{self._name} has not {which} with just the backends {', '.join(self.weights)}: {listed}.")
        return chosen

    def _ordered(self, rule: routes.Rule) -> dict[str, int]:
        return {name: self.weights[name] for name in rule.weights}

    def _patch(self, api: Client, found: JSON, chosen: list[routes.Rule], *, version: str) -> list[JSON]:
        annotations = {**(found["metadata"].get("annotations") or {}), objects.MARK: api.context.mark}
        edits = [edit for rule in chosen for edit in routes.edits(self._kind, rule, self.weights)]
        return [*edits, {"op": "add", "path": "/metadata/annotations", "value": annotations}, *objects.stale_unless(version)]

    def _is_as_wanted(self, found: JSON) -> bool:
        there = routes.rules(self._kind, found)
        chosen = [it for it in there if set(it.weights) == set(self.weights) and self.rule in {None, it.number}]
        return bool(chosen) and all(it.weights == self.weights for it in chosen)

    def _look(self, api: Client) -> watching.Look:
        _, found = self._read(api)
        if not self._is_as_wanted(found):
            raise PermanentError(f"{self._name}: its weights are no longer those of this step. Somebody else changed them meanwhile.")
        if refused := routes.refusals(found):
            raise PermanentError(f"{self._name}: {'; '.join(refused)}.")
        return watching.Look(routes.is_taken_up(found), self._told(found)[0] if self._told(found) else "its gateways have taken it up")

    def _told(self, found: JSON) -> tuple[str, ...]:
        has_word = bool(found.get("status", {}).get("parents"))
        return () if has_word else ("no gateway reports on it, so nothing tells when the traffic has moved",)
