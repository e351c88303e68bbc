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


def _around(module: str, name: str) -> Place:
    # The library depends on what policy.yaml names: `around.site` says which extra is missing.
    return Place(f"stopgap.actions.around.{module}", name)


ACTIONS = {
    "aws.alb_shift": _aws("alb", "AlbShift"),
    "aws.asg_refresh_rollback": _aws("refresh", "AsgRefreshRollback"),
    "aws.asg_scale": _aws("autoscaling", "AsgScale"),
    "aws.ec2_reboot": _aws("ec2", "Ec2Reboot"),
    "aws.ecs_rollback": _aws("ecs_rollback", "EcsRollback"),
    "aws.ecs_scale": _aws("ecs", "EcsScale"),
    "aws.eks_nodegroup_scale": _aws("eks", "EksNodegroupScale"),
    "aws.lambda_rollback": _aws("lambdas", "LambdaRollback"),
    "aws.lambda_throttle": _aws("lambdas", "LambdaThrottle"),
    "aws.rds_failover": _aws("rds", "RdsFailover"),
    "aws.rds_reboot": _aws("rds", "RdsReboot"),
    "aws.route53_shift": _aws("route53", "Route53Shift"),
    "aws.ssm_automation": _aws("ssm", "SsmAutomation"),
    "aws.ssm_command": _aws("ssm", "SsmCommand"),
    "bridge.open": _around("bridge", "BridgeOpen"),
    "command.run": Place("stopgap.actions.command", "CommandRun"),
    "haproxy.drain": Place("stopgap.actions.haproxy", "HaproxyDrain"),
    "haproxy.ready": Place("stopgap.actions.haproxy", "HaproxyReady"),
    "haproxy.weight": Place("stopgap.actions.haproxy", "HaproxyWeight"),
    "http.get": Place("stopgap.actions.http_request", "HttpGet"),
    "http.request": Place("stopgap.actions.http_request", "HttpRequest"),
    "http.wait": Place("stopgap.actions.http", "HttpWait"),
    "kubernetes.cordon": _kubernetes("nodes", "Cordon"),
    "kubernetes.delete_pod": _kubernetes("delete_pod", "DeletePod"),
    "kubernetes.drain": _kubernetes("drain", "Drain"),
    "kubernetes.job": _kubernetes("job", "Job"),
    "kubernetes.patch_hpa": _kubernetes("patch_hpa", "PatchHpa"),
    "kubernetes.pause_rollout": _kubernetes("pausing", "PauseRollout"),
    "kubernetes.restart": _kubernetes("restart", "Restart"),
    "kubernetes.resume_rollout": _kubernetes("pausing", "ResumeRollout"),
    "kubernetes.rollback": _kubernetes("rollback", "Rollback"),
    "kubernetes.scale": _kubernetes("scale", "Scale"),
    "kubernetes.scale_statefulset": _kubernetes("scale_statefulset", "ScaleStatefulSet"),
    "kubernetes.set_env": _kubernetes("set_env", "SetEnv"),
    "kubernetes.set_image": _kubernetes("set_image", "SetImage"),
    "kubernetes.shift_route": _kubernetes("shift_route", "ShiftRoute"),
    "kubernetes.switch_service": _kubernetes("switch_service", "SwitchService"),
    "kubernetes.uncordon": _kubernetes("nodes", "Uncordon"),
    "kubernetes.wait": _kubernetes("wait", "KubernetesWait"),
    "logs.search": _around("logs", "LogsSearch"),
    "logs.wait": _around("logs", "LogsWait"),
    "manual": Place("stopgap.actions.basic", "Manual"),
    "metrics.query": _around("metrics", "MetricsQuery"),
    "metrics.wait": _around("metrics", "MetricsWait"),
    "nginx.upstream": Place("stopgap.actions.nginx", "NginxUpstream"),
    "note": Place("stopgap.actions.basic", "Note"),
    "notify.send": _around("notify", "NotifySend"),
    "prometheus.query": Place("stopgap.actions.prometheus", "PrometheusQuery"),
    "prometheus.wait": Place("stopgap.actions.prometheus", "PrometheusWait"),
    "runbook.run": Place("stopgap.actions.nested", "RunbookRun"),
    "runbook.undo": Place("stopgap.actions.nested", "RunbookUndo"),
    "status.update": _around("status", "StatusUpdate"),
    "ticket.close": _around("tickets", "TicketClose"),
    "ticket.comment": _around("tickets", "TicketComment"),
    "ticket.open": _around("tickets", "TicketOpen"),
    "traces.find": _around("traces", "TracesFind"),
    "traces.wait": _around("traces", "TracesWait"),
    "wait": Place("stopgap.actions.basic", "Wait"),
}
