"""What a dry run may call on AWS: operations by name, and no pattern. A name that begins with Get can still change something."""

from __future__ import annotations

from urllib.parse import parse_qs

from stopgap.actions.guard import DryRunViolation

READS = frozenset(
    {
        "application-autoscaling:DescribeScalableTargets",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeInstanceRefreshes",
        "autoscaling:DescribePolicies",
        "autoscaling:DescribeScalingActivities",
        "cloudwatch:GetMetricData",
        "ec2:DescribeInstances",
        "ec2:DescribeInstanceStatus",
        "ecs:DescribeServiceRevisions",
        "ecs:DescribeServices",
        "ecs:DescribeTaskDefinition",
        "ecs:ListServiceDeployments",
        "ecs:ListServices",
        "eks:DescribeNodegroup",
        "eks:ListNodegroups",
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
        "lambda:GetAlias",
        "lambda:GetFunctionConcurrency",
        "lambda:ListVersionsByFunction",
        "rds:DescribeDBClusters",
        "rds:DescribeDBInstances",
        "rds:DescribeEvents",
        "route53:GetChange",
        "route53:ListResourceRecordSets",
        "ssm:DescribeAutomationExecutions",
        "ssm:DescribeDocument",
        "ssm:DescribeInstanceInformation",
        "ssm:GetAutomationExecution",
        "ssm:ListCommandInvocations",
        "ssm:ListCommands",
        "ssm:ListTagsForResource",
        "sts:AssumeRole",  # gives credentials and changes nothing; policy.yaml names the role
        "sts:GetCallerIdentity",
    }
)
# Operations that EC2 checks without carrying them out when they are sent with DryRun=true.
DRY_RUNS = frozenset({"ec2:RebootInstances"})


def may_change(operation: str, body: object) -> bool:
    """Tell whether a request for this operation can have an effect once it has left."""
    return operation not in READS and not (operation in DRY_RUNS and _asks_dry_run(body))


def check(operation: str, body: object) -> None:
    """DryRunViolation unless the request only reads, or asks EC2 for its own dry run."""
    if may_change(operation, body):
        raise DryRunViolation(f"A dry run tried {operation}; it may call only operations that read. Nothing was sent.")


def _asks_dry_run(body: object) -> bool:
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    return isinstance(text, str) and parse_qs(text, keep_blank_values=True).get("DryRun") == ["true"]
