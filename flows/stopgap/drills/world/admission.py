"""What the API server does to an object before it stores it: fills in defaults, and refuses what does not hold together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from stopgap.drills.world import kinds, refusals, selectors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.drills.world.kinds import Json, Kind

Cause = tuple[str, str, str]  # reason, field, message

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LABEL_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


_FIRST_STATUS: dict[str, Json] = {
    "namespaces": {"phase": "Active"},
    "deployments": {},
    "services": {"loadBalancer": {}},
    "horizontalpodautoscalers": {"currentReplicas": 0, "desiredReplicas": 0},
    "resourcequotas": {},
}


def admit(kind: Kind, item: Json, old: Json | None) -> None:
    """Fill in defaults, then validate; `old` is the present state of an update. Refusal 400 or 422."""
    _default(kind, item)
    name = item["metadata"].get("name", "")
    causes = [*_metadata_causes(item), *_causes(kind, item, old)]
    if causes:
        raise refusals.invalid(kind, name, causes)


def _default(kind: Kind, item: Json) -> None:
    metadata = item.setdefault("metadata", {})
    for key in ("labels", "annotations"):
        if key in metadata and not metadata[key]:
            del metadata[key]
    if kind is kinds.DEPLOYMENTS:
        _default_deployment(_spec(item))
    elif kind is kinds.SERVICES:
        _default_service(_spec(item))
    elif kind is kinds.AUTOSCALERS:
        _spec(item).setdefault("minReplicas", 1)
    if kind.plural in _FIRST_STATUS:
        item.setdefault("status", dict(_FIRST_STATUS[kind.plural]))


def _spec(item: Json) -> Json:
    spec = item.setdefault("spec", {})
    if not isinstance(spec, dict):
        raise refusals.bad_request(
            f"{item.get('kind', 'object')} in version {item.get('apiVersion')} cannot be handled: spec is not an object"
        )
    return spec


def _default_deployment(spec: Json) -> None:
    _set_defaults(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    for field in ("replicas", "revisionHistoryLimit", "progressDeadlineSeconds"):
        _require_integer(spec, field)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set_defaults(strategy.setdefault("rollingUpdate", {}), {"maxSurge": "25%", "maxUnavailable": "25%"})
    template = spec.setdefault("template", {}).setdefault("spec", {})
    _set_defaults(template, {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"})
    _set_defaults(template, {"terminationGracePeriodSeconds": 30, "securityContext": {}})
    for container in template.get("containers") or []:
        _default_container(container)


def _default_container(container: Json) -> None:
    image = str(container.get("image", ""))
    is_moving = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
    _set_defaults(
        container,
        {
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "Always" if is_moving else "IfNotPresent",
        },
    )
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")


def _default_service(spec: Json) -> None:
    _set_defaults(spec, {"type": "ClusterIP", "sessionAffinity": "None", "clusterIP": "10.96.0.10"})
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))


def _set_defaults(item: Json, defaults: Json) -> None:
    for key, value in defaults.items():
        item.setdefault(key, value)


def _require_integer(spec: Json, field: str) -> None:
    value = spec.get(field)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refusals.bad_request(
            f"json: cannot unmarshal {type(value).__name__} into Go struct field DeploymentSpec.spec.{field} of type int32"
        )


def _metadata_causes(item: Json) -> Iterator[Cause]:
    name = item["metadata"].get("name", "")
    if not name:
        yield "FieldValueRequired", "metadata.name", "Required value: name or generateName is required"
    elif not _NAME.fullmatch(name):
        yield _wrong("metadata.name", f'"{name}"', _NAME_RULE)
    for key, value in (item["metadata"].get("labels") or {}).items():
        if not isinstance(value, str) or not _LABEL.fullmatch(value):
            yield _wrong("metadata.labels", f'"{value}"', _LABEL_RULE) if key else _wrong("metadata.labels", '""', _NAME_RULE)


def _causes(kind: Kind, item: Json, old: Json | None) -> Iterator[Cause]:
    if kind is kinds.DEPLOYMENTS:
        yield from _deployment_causes(item["spec"], old["spec"] if old else None)
    elif kind is kinds.SERVICES:
        yield from _service_causes(item["spec"])
    elif kind is kinds.AUTOSCALERS:
        yield from _autoscaler_causes(item["spec"])


def _deployment_causes(spec: Json, old: Json | None) -> Iterator[Cause]:
    if spec["replicas"] < 0:
        yield _wrong("spec.replicas", str(spec["replicas"]), "must be greater than or equal to 0")
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if not selector:
        yield "FieldValueRequired", "spec.selector", "Required value"
    elif not selectors.matches(selector, labels):
        yield _wrong("spec.template.metadata.labels", str(labels), "`selector` does not match template `labels`")
    if old is not None and old.get("selector") != spec.get("selector"):
        yield _wrong("spec.selector", str(spec.get("selector")), "field is immutable")
    yield from _container_causes(spec["template"]["spec"].get("containers") or [])


def _container_causes(containers: list[Json]) -> Iterator[Cause]:
    if not containers:
        yield "FieldValueRequired", "spec.template.spec.containers", "Required value"
    for place, container in enumerate(containers):
        for field in ("name", "image"):
            if not container.get(field):
                yield "FieldValueRequired", f"spec.template.spec.containers[{place}].{field}", "Required value"


def _service_causes(spec: Json) -> Iterator[Cause]:
    if not spec.get("ports"):
        yield "FieldValueRequired", "spec.ports", "Required value"
    for value in (spec.get("selector") or {}).values():
        if not isinstance(value, str):
            raise refusals.bad_request("json: cannot unmarshal into Go struct field ServiceSpec.spec.selector of type string")
        if not _LABEL.fullmatch(value):
            yield _wrong("spec.selector", f'"{value}"', _LABEL_RULE)


def _autoscaler_causes(spec: Json) -> Iterator[Cause]:
    least, most = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    for field in ("minReplicas", "maxReplicas"):
        if spec.get(field) is not None and not isinstance(spec[field], int):
            raise refusals.bad_request(
                f"json: cannot unmarshal into Go struct field HorizontalPodAutoscalerSpec.spec.{field} of type int32"
            )
    if least < 1:
        yield _wrong("spec.minReplicas", str(least), "must be greater than or equal to 1")
    if most < 1:
        yield _wrong("spec.maxReplicas", str(most), "must be greater than 0")
    elif most < least:
        yield _wrong("spec.maxReplicas", str(most), "must be greater than or equal to `minReplicas`")


def _wrong(field: str, value: Any, rule: str) -> Cause:
    return "FieldValueInvalid", field, f"Invalid value: {value}: {rule}"
