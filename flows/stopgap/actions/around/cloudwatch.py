"""CloudWatch through botocore, with the account, the guard and the errors of the actions on AWS."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stopgap.actions.aws.client import connect
from stopgap.actions.contract import PermanentError
from stopgap.policy.model import AccountName

if TYPE_CHECKING:
    from stopgap.actions.contract import Context
    from stopgap.policy.around import Site

PERIOD = 60  # seconds: what CloudWatch keeps of most metrics
SHORT = 3  # words: statistic, namespace, metric


def ask(context: Context, site: Site, query: str, last: timedelta) -> tuple[float | None, str]:
    """Return the newest value of the query's one series, None when it has none, and a link to the console."""
    now = context.clock.now()
    wanted: dict[str, Any] = {"MetricDataQueries": [{"Id": "m", **_wanted(query)}], "ScanBy": "TimestampDescending"}
    since = now - max(last, timedelta(seconds=2 * PERIOD))  # a shorter time may hold no whole period
    with connect(context, AccountName(site.settings["account"])) as api:
        found = api.read("cloudwatch:GetMetricData", **wanted, StartTime=since, EndTime=now)["MetricDataResults"]
        region = api.access.account.region
    if len(found) > 1:
        raise PermanentError(f"The query {query} gives {len(found)} series; exactly one is needed.")
    values = found[0]["Values"] if found else []
    return (float(values[0]) if values else None), f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#metricsV2"


def _wanted(query: str) -> dict[str, Any]:
    if "(" in query or query.lstrip().upper().startswith("SELECT"):
        return {"Expression": query, "Period": PERIOD}
    try:
        words = shlex.split(query)
    except ValueError as error:
        raise PermanentError(f"The query {query} cannot be read ({error}).") from error
    dimensions = [dict(zip(("Name", "Value"), word.split("=", 1), strict=True)) for word in words[SHORT:] if "=" in word]
    if len(words) < SHORT or len(dimensions) != len(words) - SHORT:
        raise PermanentError(
            f"The query {query} is none for CloudWatch. Write STATISTIC NAMESPACE METRIC Name=Value ..., "
            "like  Average AWS/SQS ApproximateAgeOfOldestMessage QueueName=orders  or an expression."
        )
    metric = {"Namespace": words[1], "MetricName": words[2], "Dimensions": dimensions}
    return {"MetricStat": {"Metric": metric, "Period": PERIOD, "Stat": words[0]}}
