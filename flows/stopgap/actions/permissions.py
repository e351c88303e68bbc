"""What an action needs in other systems, as it declares it: shapes, and what is wrong with them.

`permissions` is a mapping from a system to a list of rules:

    kubernetes  {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"], "resourceNames": ["{deployment}"]}
                and `"scope": "cluster"` when it reaches beyond the step's namespace
    aws         "ecs:DescribeServices", or {"actions": ["ecs:UpdateService"], "resources": ["arn:aws:ecs:{region}:*:service/{cluster}/{service}"]}
    others      a sentence each

`{deployment}` stands for the step's own argument of that name; a rule whose argument the step leaves out is not needed. A rule with `optional`
is one without which the action still works: the value is a sentence that says what is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_KUBERNETES = {"apiGroups": True, "resources": True, "verbs": True, "resourceNames": False}
_AWS = {"actions": True, "resources": True}
_AWS_ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z*]+")


def faults(permissions: Mapping[str, Any], fields: Sequence[str]) -> Iterator[str]:
    """Say in sentences what is wrong with the declared permissions of an action that has these fields."""
    for system, rules in permissions.items():
        if not isinstance(rules, Sequence) or isinstance(rules, str):
            yield f"its permissions for {system} are {rules!r}; a list of rules is needed"
            continue
        for rule in rules:
            yield from (f"its permission {rule!r} for {system} {fault}" for fault in _faults_of_rule(system, rule))
            for name in placeholders(rule):
                if name not in fields:
                    yield f"its permission {rule!r} for {system} names the argument {{{name}}}, which it does not take"


def placeholders(rule: Any) -> tuple[str, ...]:
    """Return the arguments that a rule names."""
    if isinstance(rule, str):
        return tuple(PLACEHOLDER.findall(rule))
    values = rule.values() if isinstance(rule, Mapping) else rule if isinstance(rule, Sequence) else ()
    return tuple(dict.fromkeys(name for value in values for name in placeholders(value)))


def _faults_of_rule(system: str, rule: Any) -> Iterator[str]:
    if isinstance(rule, str):
        if system == "kubernetes":
            yield "is no RBAC rule; give apiGroups, resources and verbs"
        elif system == "aws" and not _AWS_ACTION.fullmatch(rule):
            yield 'is no IAM action; write it like "ecs:UpdateService"'
        return
    known = {"kubernetes": _KUBERNETES, "aws": _AWS}.get(system)
    if known is None or not isinstance(rule, Mapping):
        yield "is neither a sentence nor a rule"
        return
    yield from _faults_of_keys(rule, known)
    for action in rule.get("actions", ()) if system == "aws" else ():
        if not _AWS_ACTION.fullmatch(str(action)):
            yield f'names {action!r}, which is no IAM action; write it like "ecs:UpdateService"'


def _faults_of_keys(rule: Mapping[str, Any], known: Mapping[str, bool]) -> Iterator[str]:
    for key, is_needed in known.items():
        if key not in rule and is_needed:
            yield f'has no "{key}"'
        elif key in rule and not _is_list_of_texts(rule[key]):
            yield f'has {rule[key]!r} as "{key}"; a list of texts is needed'
    for key in set(rule) - set(known) - {"optional", "scope"}:
        yield f'has an unknown key "{key}"'
    if rule.get("scope", "cluster") != "cluster":
        yield 'has an unknown "scope"; only "cluster" can be said'
    if not isinstance(rule.get("optional", ""), str):
        yield 'has an "optional" that is no sentence'


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and all(isinstance(item, str) for item in value)
