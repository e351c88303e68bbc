"""The rules of a Gateway API HTTPRoute and of an Istio VirtualService: which backends each has, with what weights, and where they stand."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stopgap.actions.kubernetes import objects
from stopgap.actions.kubernetes.answers import ForbiddenError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.kubernetes.client import JSON, Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of route: where it is served, and where its rules, their backends and a backend's name stand."""

    group: str
    versions: tuple[str, ...]  # the newest first; a cluster serves some of them
    plural: str
    rules: str
    backends: str


HTTP_ROUTE = Kind(group="gateway.networking.k8s.io", versions=("v1", "v1beta1"), plural="httproutes", rules="rules", backends="backendRefs")
VIRTUAL_SERVICE = Kind(
    group="networking.istio.io", versions=("v1", "v1beta1", "v1alpha3"), plural="virtualservices", rules="http", backends="route"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its number for people, counted from 1, and the weight of each backend, in order."""

    number: int
    weights: Mapping[str, int]


def read(api: Client, kind: Kind, namespace: str, name: str) -> tuple[str, JSON]:
    """Return the path at which the cluster serves the route, and the route; NotFoundError names those that are there."""
    for version in kind.versions[:-1]:
        group = f"apis/{kind.group}/{version}"
        with suppress(NotFoundError):
            return objects.path_of(kind.plural, namespace, name, group=group), api.get(
                objects.path_of(kind.plural, namespace, name, group=group)
            )
    last = next((it for it in kind.versions if _is_served(api, kind, namespace, it)), kind.versions[0])
    group = f"apis/{kind.group}/{last}"
    return objects.path_of(kind.plural, namespace, name, group=group), objects.read(api, kind.plural, namespace, name, group=group)


def rules(kind: Kind, route: JSON) -> list[Rule]:
    """Return the rules that have backends."""
    found = []
    for number, rule in enumerate(route["spec"].get(kind.rules) or (), start=1):
        backends: list[JSON] = rule.get(kind.backends) or []
        if backends:
            found.append(Rule(number, {_name(backend): _weight(kind, backend, alone=len(backends) == 1) for backend in backends}))
    return found


def edits(kind: Kind, rule: Rule, weights: Mapping[str, int]) -> list[JSON]:
    """Return the JSON patch that gives the rule's backends these weights."""
    base = f"/spec/{kind.rules}/{rule.number - 1}/{kind.backends}"
    return [{"op": "add", "path": f"{base}/{index}/weight", "value": weights[name]} for index, name in enumerate(rule.weights)]


def is_taken_up(route: JSON) -> bool:
    """Every gateway that reports on the route has seen its newest version. One that reports nothing cannot be waited for."""
    generation = route["metadata"].get("generation", 0)
    parents = route.get("status", {}).get("parents") or ()
    return all(_seen(parent) >= generation for parent in parents)


def refusals(route: JSON) -> tuple[str, ...]:
    """Say which gateways do not accept the newest version of the route, and why."""
    generation, found = route["metadata"].get("generation", 0), []
    for parent in route.get("status", {}).get("parents") or ():
        for condition in parent.get("conditions") or ():
            is_new = condition.get("observedGeneration", 0) >= generation
            if is_new and condition["type"] in {"Accepted", "ResolvedRefs"} and condition["status"] == "False":
                found.append(f"the gateway {parent['parentRef']['name']} says {condition['type']}=False: {condition.get('message', '')}")
    return tuple(found)


def _is_served(api: Client, kind: Kind, namespace: str, version: str) -> bool:
    try:
        api.get(objects.collection(kind.plural, namespace, group=f"apis/{kind.group}/{version}"), limit="1")
    except ForbiddenError:
        return True
    except NotFoundError:
        return False
    return True


def _name(backend: JSON) -> str:
    if "destination" in backend:
        destination = backend["destination"]
        return "/".join(str(destination[key]) for key in ("host", "subset") if destination.get(key))
    return str(backend["name"])


def _weight(kind: Kind, backend: JSON, *, alone: bool) -> int:
    # Left out, a weight is 1 in Gateway API; in Istio it is 0, or everything for the only destination.
    left_out = 1 if kind is HTTP_ROUTE else 100 if alone else 0
    return int(backend.get("weight", left_out))


def _seen(parent: JSON) -> int:
    seen = [int(condition.get("observedGeneration", 0)) for condition in parent.get("conditions") or () if condition["type"] == "Accepted"]
    return max(seen, default=0)
