"""One case for every built-in action; an action of the catalogue without a case fails the kill matrix. See `matrix.case`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fixtures_cluster import BETTER, GOOD
from matrix import aws
from matrix.case import NAME, Case

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matrix.systems import Systems


def _in_cluster(**arguments: Any) -> Callable[[Systems], Mapping[str, Any]]:
    return lambda systems: {"cluster": "cluster", "namespace": systems.place.namespace, **arguments}


def _deploy(systems: Systems, name: str) -> None:
    systems.place.deploy(name, image=GOOD, replicas=1)


def _deploy_twice(systems: Systems, name: str) -> None:
    _deploy(systems, name)
    systems.place.release(name, BETTER)


def _deploy_both(systems: Systems, name: str) -> None:
    place = systems.place
    for track in ("current", "stable"):
        place.deploy(f"{name}-{track}", image=GOOD, replicas=1, app=name, track=track)
    spec = {"selector": {"app": name, "track": "current"}, "ports": [{"port": 80}]}
    place.create("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})


def _deployment(systems: Systems, name: str) -> Any:
    spec = systems.place.get("deployments", name)["spec"]
    return {"replicas": spec["replicas"], "image": spec["template"]["spec"]["containers"][0]["image"]}


def _service(systems: Systems, name: str) -> Any:
    return systems.place.get("services", name)["spec"]["selector"]["track"]


CASES: Mapping[str, Case] = {
    **aws.CASES,
    "http.wait": Case(arguments=lambda systems: {"url": f"{systems.web.url}/ok/{NAME}"}, effects=0, counted="a recording web server"),
    "kubernetes.restart": Case(arguments=_in_cluster(deployment=NAME), make=_deploy, look=_deployment, effects=1, counted="the API server"),
    "kubernetes.rollback": Case(
        arguments=_in_cluster(deployment=NAME), make=_deploy_twice, look=_deployment, effects=2, counted="the API server"
    ),
    "kubernetes.scale": Case(
        arguments=_in_cluster(deployment=NAME, replicas=2), make=_deploy, look=_deployment, effects=2, counted="the API server"
    ),
    "kubernetes.switch_service": Case(
        arguments=_in_cluster(service=NAME, selector={"track": "stable"}),
        make=_deploy_both,
        look=_service,
        effects=2,
        counted="the API server",
    ),
    "kubernetes.wait": Case(arguments=_in_cluster(deployment=NAME), make=_deploy, effects=0, counted="the API server"),
    "manual": Case(arguments=lambda _: {"instructions": f"Do something about {NAME}."}, effects=0, counted="a person"),
    "note": Case(arguments=lambda _: {"text": f"This is {NAME}."}, effects=0, counted="the timeline"),
    "prometheus.query": Case(arguments=lambda _: {"query": "up"}, effects=0, counted="a recording web server"),
    "prometheus.wait": Case(arguments=lambda _: {"query": "up", "above": 0}, effects=0, counted="a recording web server"),
    "wait": Case(arguments=lambda _: {"for": "1s"}, effects=0, counted="the clock"),
}
