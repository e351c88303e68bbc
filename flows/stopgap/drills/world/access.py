"""Who may do what in the sandbox: four users with fixed bearer tokens, and rules like those of a small team's cluster.

admin      everything
responder  reads; patches and scales Deployments, patches Services and autoscalers
viewer     reads
nobody     nothing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

User = Literal["admin", "responder", "viewer", "nobody"]
USERS: tuple[User, ...] = get_args(User)
READS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True)
class Rule:
    """These verbs on these resources; resources are `group/plural` or `group/plural/subresource`, the core group being empty."""

    verbs: frozenset[str]
    resources: frozenset[str]


_ALL_READABLE = frozenset(
    {
        "/namespaces",
        "/pods",
        "/services",
        "/endpoints",
        "/events",
        "/resourcequotas",
        "apps/deployments",
        "apps/deployments/scale",
        "apps/replicasets",
        "autoscaling/horizontalpodautoscalers",
    }
)
_RESPONDER = frozenset({"apps/deployments", "apps/replicasets", "apps/deployments/scale", "autoscaling/horizontalpodautoscalers"})
RULES: dict[User, tuple[Rule, ...]] = {
    "responder": (
        Rule(READS | {"patch", "update"}, _RESPONDER),
        Rule(READS, frozenset({"/pods", "/services", "/events", "/endpoints"})),
        Rule(frozenset({"patch"}), frozenset({"/services"})),
    ),
    "viewer": (Rule(READS, _ALL_READABLE),),
    "nobody": (),
}


def token(user: User) -> str:
    """Return the user's bearer token. It protects nothing: the sandbox holds nothing."""
    return f"sandbox-{user}"


def user_of(header: str | None) -> User | None:
    """Return whose token an Authorization header carries."""
    return next((user for user in USERS if header == f"Bearer {token(user)}"), None)


def may(user: User, verb: str, resource: str) -> bool:
    """Say whether the user may use a verb on `group/plural[/subresource]`."""
    if user == "admin" or resource == "authorization.k8s.io/selfsubjectaccessreviews":
        return True
    return any(verb in rule.verbs and resource in rule.resources for rule in RULES[user])
