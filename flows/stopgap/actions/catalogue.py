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


def _aws(module: str, name: str) -> Place:
    return Place(f"stopgap.actions.aws.{module}", name, extra="aws", library="botocore")


ACTIONS = {
    "aws.alb_shift": _aws("alb", "AlbShift"),
    "aws.asg_scale": _aws("autoscaling", "AsgScale"),
    "aws.ecs_rollback": _aws("ecs_rollback", "EcsRollback"),
    "aws.ecs_scale": _aws("ecs", "EcsScale"),
    "aws.lambda_rollback": _aws("lambdas", "LambdaRollback"),
    "aws.lambda_throttle": _aws("lambdas", "LambdaThrottle"),
    "aws.route53_shift": _aws("route53", "Route53Shift"),
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
