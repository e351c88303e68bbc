"""How far policy lets a step go; checked when a step is planned and again right before it is carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from stopgap.actions.contract import Action, Change
    from stopgap.policy.model import Policy


class LimitError(StopgapError):
    """The step goes further than policy allows."""


def check(policy: Policy, action: Action, change: Change, *, step: str) -> None:
    """Raise LimitError when this change is beyond a limit of policy.yaml; reading is never limited."""
    if action.effect != "changes":
        return
    namespace = getattr(action, "namespace", None)
    allowed = policy.limits.namespaces
    if allowed is not None and namespace is not None and namespace not in allowed:
        raise LimitError(
            f'Step "{step}" would change namespace {namespace}, but limits.namespaces in {_file(policy)} allows only {", ".join(allowed) or "none"}.'
        )
    most = policy.limits.max_replicas
    wanted = change.after.get("replicas")
    if most is not None and isinstance(wanted, int) and wanted > most and not change.is_empty:
        raise LimitError(f'Step "{step}" would run {wanted} replicas, but limits.max_replicas in {_file(policy)} allows {most}.')


def _file(policy: Policy) -> str:
    return policy.path.name if policy.path else "policy.yaml"
