"""The cases of the actions on Kubernetes: each run has a Deployment, Node ... of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fixtures_cluster import BETTER, GOOD
from matrix.case import IS_WHOLE, NAME, THING, Case, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fixtures_cluster import Place
    from matrix.systems import Systems

    Look = Callable[[Place, str], Any]


def _case(  # noqa: PLR0913  a case's parts
    action: str,
    *,
    make: Look,
    effects: int = 2,
    look: Look = nothing,
    removes: str = "deployments",
    on: str = "any",
    in_namespace: bool = True,
    **arguments: Any,
) -> tuple[str, Case]:
    """`on`: "any" cluster, "real" for what the sandbox does not have, "sandbox" for what the test control plane does not have."""

    def place(systems: Systems) -> Place:
        return systems.sites[_where(systems, on)].place

    def wanted(systems: Systems) -> Mapping[str, Any]:
        namespace = {"namespace": place(systems).namespace} if in_namespace else {}
        return {"cluster": _where(systems, on), **namespace, **arguments}

    return action, Case(
        arguments=wanted,
        effects=effects,
        counted="a proxy in front of the API server",
        where=lambda systems: _where(systems, on),
        lacks=lambda systems: "STOPGAP_TEST_KUBECONFIG names no disposable cluster" if _where(systems, on) not in systems.sites else "",
        make=lambda systems, name: make(place(systems), name),
        look=lambda systems, name: look(place(systems), name),
        remove=lambda systems, name: _remove(place(systems), removes, name),
    )


def _where(systems: Systems, on: str) -> str:
    """The whole table is made on a real cluster; otherwise what the sandbox can do is done there, which is quicker."""
    if on != "any":
        return on
    return "real" if "real" in systems.sites and IS_WHOLE else "sandbox"


def _remove(place: Place, plural: str, name: str) -> None:
    place.admin.delete(place.url(plural, name))


def _deploy(place: Place, name: str) -> None:
    place.deploy(name, image=GOOD, replicas=1)


def _deploy_twice(place: Place, name: str) -> None:
    _deploy(place, name)
    place.release(name, BETTER)


def _deploy_paused(place: Place, name: str) -> None:
    _deploy(place, name)
    place.patch("deployments", name, {"spec": {"paused": True}})
    place.release(name, BETTER, ready=False)


def _deploy_both(place: Place, name: str) -> None:
    for track in ("current", "stable"):
        place.deploy(f"{name}-{track}", image=GOOD, replicas=1, app=name, track=track)
    spec = {"selector": {"app": name, "track": "current"}, "ports": [{"port": 80}]}
    place.create("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})


def _pod(place: Place, name: str) -> str:
    _deploy(place, name)
    pods = place.get("pods")["items"]
    return str(next(it["metadata"]["name"] for it in pods if it["metadata"]["labels"].get("app") == name))


def _deployment(place: Place, name: str) -> Any:
    spec = place.get("deployments", name)["spec"]
    container = spec["template"]["spec"]["containers"][0]
    return {"replicas": spec["replicas"], "paused": spec.get("paused", False), "image": container["image"], "env": container["env"]}


def _service(place: Place, name: str) -> Any:
    return place.get("services", name)["spec"]["selector"]["track"]


def _stateful(place: Place, name: str) -> None:
    labels = {"app": name}
    containers = [{"name": "db", "image": "shop/db:1"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers, "terminationGracePeriodSeconds": 0}}
    spec = {
        "replicas": 1,
        "serviceName": name,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels},
        "template": template,
    }
    place.create("statefulsets", {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec})
    place.until("statefulsets", name, lambda it: it["status"].get("readyReplicas") == 1)


def _autoscaler(place: Place, name: str) -> None:
    goal = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{name}-elsewhere"}
    spec = {"scaleTargetRef": goal, "minReplicas": 2, "maxReplicas": 10}
    body = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name}, "spec": spec}
    place.create("horizontalpodautoscalers", body)
    status = {"desiredReplicas": 4, "currentReplicas": 4}
    place.patch("horizontalpodautoscalers", f"{name}/status", {"status": status})


def _limits(place: Place, name: str) -> Any:
    spec = place.get("horizontalpodautoscalers", name)["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


def _route(place: Place, name: str) -> None:
    refs = [{"name": backend, "port": 80, "weight": weight} for backend, weight in (("blue", 90), ("green", 10))]
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": refs}]},
    }
    place.create("httproutes", body)


def _weights(place: Place, name: str) -> Any:
    return [ref["weight"] for ref in place.get("httproutes", name)["spec"]["rules"][0]["backendRefs"]]


def _node(place: Place, name: str, *, is_closed: bool = False) -> None:
    """A Node of the run's own, to which the scheduler sends nothing."""
    taint = {"key": "stopgap.dev/test", "value": name, "effect": "NoSchedule"}
    spec = {"taints": [taint], **({"unschedulable": True} if is_closed else {})}
    place.create("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec})


def _full_node(place: Place, name: str) -> None:
    """A Node with one Pod, which has a controller that starts it again elsewhere."""
    _node(place, name)
    labels = {"app": name}
    body = {"containers": [{"name": "c", "image": "shop/web:1"}], "terminationGracePeriodSeconds": 0}
    metadata = {"name": f"{name}-pod", "labels": labels}
    place.create("pods", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**body, "nodeName": name}})
    conditions = [{"type": kind, "status": "True"} for kind in ("ContainersReady", "Ready")]
    place.patch("pods", f"{name}-pod/status", {"status": {"phase": "Running", "conditions": conditions}})
    controller = {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": body}}
    place.create("replicasets", {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name}, "spec": controller})
    place.until("pods", f"{name}-pod", lambda it: bool(it["metadata"].get("ownerReferences")))


def _closed(place: Place, name: str) -> Any:
    return bool(place.get("nodes", name)["spec"].get("unschedulable"))


def _cron_job(place: Place, name: str) -> None:
    """A CronJob whose Jobs complete at once: they want no Pod."""
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "shop/purge:1"}]}}
    job = {"completions": 0, "parallelism": 0, "template": template}
    body = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": job}}
    place.create("cronjobs", {"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": name}, "spec": body})


def _jobs(place: Place, name: str) -> Any:
    return sum(it["metadata"]["name"].startswith(f"{name}-") for it in place.get("jobs")["items"])


_NODE: dict[str, Any] = {"on": "real", "in_namespace": False, "removes": "nodes", "node": NAME}
_DEPLOYED: dict[str, Any] = {"make": _deploy, "look": _deployment, "deployment": NAME}
CASES: Mapping[str, Case] = dict(
    [
        _case("kubernetes.cordon", make=_node, look=_closed, **_NODE),
        _case("kubernetes.delete_pod", make=_pod, effects=1, on="real", pod=THING),
        _case("kubernetes.drain", make=_full_node, look=_closed, effects=3, **_NODE),
        _case("kubernetes.job", make=_cron_job, look=_jobs, effects=1, on="real", removes="cronjobs", cronjob=NAME),
        _case("kubernetes.patch_hpa", make=_autoscaler, look=_limits, removes="horizontalpodautoscalers", on="real", hpa=NAME, minimum=4),
        _case("kubernetes.pause_rollout", **_DEPLOYED),
        _case("kubernetes.restart", effects=1, **_DEPLOYED),
        _case("kubernetes.resume_rollout", **{**_DEPLOYED, "make": _deploy_paused}),
        _case("kubernetes.rollback", **{**_DEPLOYED, "make": _deploy_twice}),
        _case("kubernetes.scale", replicas=2, **_DEPLOYED),
        _case("kubernetes.scale_statefulset", make=_stateful, on="real", removes="statefulsets", statefulset=NAME, replicas=2),
        _case("kubernetes.set_env", env={"CACHE": "off"}, **_DEPLOYED),
        _case("kubernetes.set_image", image=BETTER, **_DEPLOYED),
        _case(
            "kubernetes.shift_route",
            make=_route,
            look=_weights,
            on="sandbox",
            removes="httproutes",
            httproute=NAME,
            weights={"blue": 50, "green": 50},
        ),
        _case(
            "kubernetes.switch_service", make=_deploy_both, look=_service, removes="services", service=NAME, selector={"track": "stable"}
        ),
        _case("kubernetes.uncordon", make=lambda place, name: _node(place, name, is_closed=True), look=_closed, **_NODE),
        _case("kubernetes.wait", effects=0, **_DEPLOYED),
    ]
)
