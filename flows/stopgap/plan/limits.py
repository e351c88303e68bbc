"""How far policy lets a step go; checked when a step is planned and again right before it is carried out.

What takes a change back (`<step>.undo`) is held to the places alone: no number, freeze or pace keeps anybody from going back.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap import clock
from stopgap.actions import nested
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from stopgap.actions.contract import Action, Change
    from stopgap.policy.model import AccountName, Policy

HOUR = timedelta(hours=1)


class LimitError(StopgapError):
    """The step goes further than policy allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a step would act, and how many changing steps began in the hour before; None when nobody can count them here (a plan)."""

    now: datetime
    begun: Callable[[], int] | None = None


def check(policy: Policy, action: Action, change: Change, *, step: str, moment: Moment) -> None:
    """Raise LimitError when this change is beyond a limit of policy.yaml; reading is never limited, nor is what changes nothing."""
    if action.effect != "changes" or action.name in nested.NAMES:
        return  # the steps of a nested run are held to the limits themselves
    faults = [*_places(policy, action)]
    if not step.endswith(".undo") and not change.is_empty:
        faults += [*_sizes(policy, change), *_times(policy, action, moment)]
    if faults:
        raise LimitError(f'Step "{step}" {faults[0].format(file=policy.path.name if policy.path else "policy.yaml")}')


def _places(policy: Policy, action: Action) -> Iterator[str]:
    limits = policy.limits
    account: AccountName | None = getattr(action, "account", None)
    known = policy.accounts.get(account) if account is not None else None
    region = known.region if known else getattr(action, "region", None)
    kinds = (
        ("namespace", getattr(action, "namespace", None), "namespaces", limits.namespaces),
        ("cluster", getattr(action, "cluster", None), "clusters", limits.clusters),
        ("account", account, "accounts", limits.accounts),
        ("region", region, "regions", limits.regions),
    )
    for what, found, key, allowed in kinds:
        if allowed is not None and found is not None and found not in allowed:
            yield f"would change {what} {found}, but limits.{key} in {{file}} allows only {', '.join(allowed) or 'none'}."
    node = getattr(action, "node", None)
    patterns = limits.nodes if limits.nodes is not None else () if limits.namespaces is not None else ("*",)
    if node is not None and not any(fnmatch.fnmatchcase(node, pattern) for pattern in patterns):
        yield f"would change node {node}, but limits.nodes in {{file}} allows only {', '.join(patterns) or 'none'}."


def _sizes(policy: Policy, change: Change) -> Iterator[str]:
    most, wanted = policy.limits.max_replicas, change.measures.get("replicas", change.after.get("replicas"))
    if most is not None and isinstance(wanted, int) and wanted > most:
        yield f"would run {wanted} replicas, but limits.max_replicas in {{file}} allows {most}."
    largest, shift = policy.limits.max_shift, change.measures.get("shift", 0.0)
    if largest is not None and shift > largest:
        yield f"would move {shift:.4g} % of the traffic at once, but limits.max_shift in {{file}} allows {largest:.4g} %. Take it in several steps."


def _times(policy: Policy, action: Action, moment: Moment) -> Iterator[str]:
    for freeze in policy.limits.freezes:
        if freeze.begins <= moment.now < freeze.ends and action.name not in freeze.allowed:
            until = clock.format_time(freeze.ends)
            yield f"would act in a freeze of {{file}} that lasts until {until} ({freeze.reason}); {action.name} is not under its `except`."
    most = policy.limits.steps_per_hour
    if most is not None and moment.begun is not None and (begun := moment.begun()) >= most:
        yield f"would be one too many: {begun} changing steps began within the last hour, and limits.steps_per_hour in {{file}} allows {most}."
