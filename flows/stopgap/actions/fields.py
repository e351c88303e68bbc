"""Types of an action's fields: each carries its check and what an editor shows of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from stopgap import clock
from stopgap.policy.model import AccountName, ClusterName


def _read_duration(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    duration = clock.parse_duration(value)
    if not duration:
        raise ValueError("a duration must be longer than 0s")
    return duration


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{clock.DURATION}$", "minLength": 2, "examples": ["90s", "15m", "2h30m"]}),
]

_DNS_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"

Cluster = Annotated[
    ClusterName, Field(min_length=1, description="A cluster's name in policy.yaml; the current context of a kubeconfig is never used.")
]
Account = Annotated[
    AccountName, Field(min_length=1, description="An AWS account's name in policy.yaml, which says its region; AWS_PROFILE is never used.")
]
Namespace = Annotated[str, Field(pattern=_DNS_NAME, max_length=63, description="The namespace. It has no default inside an action.")]
ObjectName = Annotated[str, Field(pattern=_DNS_NAME, max_length=253)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/]+", max_length=2000)]
