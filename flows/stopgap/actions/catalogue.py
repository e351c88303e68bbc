"""Which actions come with stopgap: a literal table. Each is imported only when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where an action's class is, and the extra it needs: `extra` is what pip installs, `library` what is then importable."""

    module: str
    name: str
    extra: str = ""
    library: str = ""


def _kubernetes(module: str, name: str) -> Place:
    return Place(f"stopgap.actions.kubernetes.{module}", name, extra="kubernetes", library="kubernetes")


ACTIONS = {
    "http.wait": Place("stopgap.actions.http", "HttpWait"),
    "kubernetes.restart": _kubernetes("restart", "Restart"),
    "kubernetes.rollback": _kubernetes("rollback", "Rollback"),
    "kubernetes.scale": _kubernetes("scale", "Scale"),
    "kubernetes.switch_service": _kubernetes("switch_service", "SwitchService"),
    "kubernetes.wait": _kubernetes("wait", "KubernetesWait"),
    "manual": Place("stopgap.actions.basic", "Manual"),
    "note": Place("stopgap.actions.basic", "Note"),
    "prometheus.query": Place("stopgap.actions.prometheus", "PrometheusQuery"),
    "prometheus.wait": Place("stopgap.actions.prometheus", "PrometheusWait"),
    "wait": Place("stopgap.actions.basic", "Wait"),
}
