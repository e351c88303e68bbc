"""The least that runbooks need in other systems, from what their actions declare: Roles of Kubernetes, an IAM policy, sentences for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stopgap.actions import permissions, registry
from stopgap.plan import nested

if TYPE_CHECKING:
    from stopgap.runbook.model import Call, Runbook, Step

JSON = dict[str, Any]
ANY = "*"


@dataclass(slots=True)
class Needs:
    """What is needed: RBAC rules by cluster and namespace (empty: of the whole cluster), IAM statements by account, sentences by system."""

    kubernetes: dict[tuple[str, str], list[JSON]] = field(default_factory=dict)
    aws: dict[str, list[JSON]] = field(default_factory=dict)
    others: dict[str, list[str]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)  # what does not work without the optional rules


def of(runbooks: Iterable[Runbook], *, optional: bool = False) -> Needs:
    """Return the smallest permissions with which these runbooks, and those that they run, run; with `optional` also those without which less is said or seen."""
    needs = Needs()
    for runbook in _with_those_within(runbooks):
        for step in runbook.steps:
            for call in _calls(step):
                _add(needs, runbook, call, optional=optional)
    for place, rules in needs.kubernetes.items():
        needs.kubernetes[place] = _smallest(rules, names="resourceNames", key="verbs")
    for account, statements in needs.aws.items():
        needs.aws[account] = _smallest(statements, names="Resource", key="Action")
    return needs


def _smallest(found: list[JSON], *, names: str, key: str) -> list[JSON]:
    """Leave out what a rule about certain objects allows, and one about any object of that kind allows as well."""
    kept = []
    for each in found:
        wider = (
            []
            if _is_about_any(each, names)
            else [other for other in found if _is_about_any(other, names) and _covers(other, each, names, key)]
        )
        covered = {value for other in wider for value in other[key]}
        left = [value for value in each[key] if value not in covered]
        if left:
            kept.append({**each, key: left})
    return kept


def _is_about_any(rule: JSON, names: str) -> bool:
    return bool(rule.get(names, [ANY]) == [ANY])


def _covers(wide: JSON, narrow: JSON, names: str, key: str) -> bool:
    apart = {names, key}
    return {name: value for name, value in wide.items() if name not in apart} == {
        name: value for name, value in narrow.items() if name not in apart
    }


def _with_those_within(runbooks: Iterable[Runbook]) -> list[Runbook]:
    found: dict[str, Runbook] = {}
    waiting = list(runbooks)
    while waiting:
        runbook = waiting.pop(0)
        if runbook.name not in found:
            found[runbook.name] = runbook
            waiting += [nested.find(runbook, name) for name in nested.named(runbook.steps)]
    return list(found.values())


def roles(needs: Needs, *, name: str) -> Iterator[tuple[str, JSON]]:
    """Yield each cluster's Roles and ClusterRoles as Kubernetes objects."""
    for (cluster, namespace), rules in sorted(needs.kubernetes.items()):
        metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
        kind = "Role" if namespace else "ClusterRole"
        yield cluster, {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": rules}


def iam(statements: list[JSON]) -> JSON:
    """Return the statements as an IAM policy document."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]}


def _calls(step: Step) -> Iterator[Call]:
    yield from (call for call in (step.call, step.verify) if call is not None)
    for member in step.parallel:
        yield from _calls(member)


def _add(needs: Needs, runbook: Runbook, call: Call, *, optional: bool) -> None:
    arguments = {**runbook.defaults, **call.arguments}
    for system, rules in registry.load(call.uses).permissions.items():
        for rule in rules:
            if any(arguments.get(name) is None for name in permissions.placeholders(rule)):
                continue  # it is about an argument that this step leaves out
            if isinstance(rule, Mapping) and "optional" in rule and not optional:
                needs.lost += [rule["optional"]] if rule["optional"] not in needs.lost else []
            elif system == "kubernetes":
                _add_rule(needs, rule, arguments)
            elif system == "aws":
                _add_statement(needs, rule, arguments)
            elif rule not in needs.others.setdefault(system, []):
                needs.others[system].append(rule)


def _add_rule(needs: Needs, rule: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    namespace = "" if rule.get("scope") == "cluster" else _literal(arguments.get("namespace"))
    found = needs.kubernetes.setdefault((_literal(arguments.get("cluster")) or ANY, namespace), [])
    what = {key: list(rule[key]) for key in ("apiGroups", "resources")}
    names = [_filled(name, arguments) for name in rule.get("resourceNames", ())]
    if names and ANY not in names:
        what["resourceNames"] = names
    _merge(found, what, "verbs", rule["verbs"])


def _add_statement(needs: Needs, rule: Any, arguments: Mapping[str, Any]) -> None:
    found = needs.aws.setdefault(_literal(arguments.get("account")) or ANY, [])
    actions, resources = ([rule], [ANY]) if isinstance(rule, str) else (rule["actions"], rule["resources"])
    _merge(found, {"Resource": [_filled(resource, arguments) for resource in resources]}, "Action", actions)


def _merge(found: list[JSON], what: JSON, key: str, values: Iterable[str]) -> None:
    """Add to the rule that is about the same things, or begin one."""
    same = next((each for each in found if {name: it for name, it in each.items() if name != key} == what), None)
    if same is None:
        found.append({**what, key: sorted(set(values))})
    else:
        same[key] = sorted({*same[key], *values})


def _literal(value: Any) -> str:
    return "" if value is None or "${{" in str(value) else str(value)


def _filled(text: str, arguments: Mapping[str, Any]) -> str:
    """Put the step's arguments in; one that only the run will know stands for any."""
    return permissions.PLACEHOLDER.sub(lambda found: _literal(arguments[found[1]]) or ANY, text)
