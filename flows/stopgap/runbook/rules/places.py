"""Where a step acts, and how far: clusters, accounts and Prometheus servers that policy.yaml names, within its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stopgap import schema
from stopgap.policy import commands, reaching
from stopgap.runbook.rules import arguments, outline

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from stopgap.document import Document, KeyPath
    from stopgap.policy.model import Policy
    from stopgap.problems import Problem
    from stopgap.runbook.known import ActionSchema, Known


def check(found: Document, known: Known) -> Iterator[Problem]:
    """Literal clusters, accounts, servers, namespaces and replicas of every call; each mistake in `defaults` once."""
    if known.policy is None or known.actions is None:
        return
    said = set()
    for call in outline.calls(found):
        action = known.actions.get(call.uses)
        for problem in _call(found, call, action, known.policy) if action else ():
            if problem not in said:
                said.add(problem)
                yield problem


def _call(found: Document, call: outline.CallOutline, action: ActionSchema, policy: Policy) -> Iterator[Problem]:
    values = arguments.merged(found, call, action)
    cluster = _literal(values.get("cluster")) if "cluster" in action.fields else None
    if isinstance(cluster, str) and cluster not in policy.clusters:
        yield _unknown(found, _path(call, "cluster"), "cluster", cluster, [str(name) for name in policy.clusters])
    account = _literal(values.get("account")) if "account" in action.fields else None
    if isinstance(account, str) and account not in policy.accounts:
        yield _unknown(found, _path(call, "account"), "account", account, [str(name) for name in policy.accounts])
    server = _literal(values.get("server", "default")) if action.name.startswith("prometheus.") else None
    if isinstance(server, str) and server not in policy.prometheus:
        path = _path(call, "server") if "server" in values else (*call.path, "uses")
        yield _unknown(found, path, "Prometheus server", server, list(policy.prometheus))
    if action.name.startswith("http."):
        yield from _addresses(found, call, policy, changes=not action.only_reads)
    if action.name == "command.run":
        yield from _commands(found, call, policy)
    if not action.only_reads:
        yield from _limits(found, call, values, policy)


def _addresses(found: Document, call: outline.CallOutline, policy: Policy, *, changes: bool) -> Iterator[Problem]:
    for key in ("url", "done_url", "undo_url"):
        host = _host(_literal(call.arguments.get(key)))
        if host and not reaching.may_reach(host, policy.http):
            hint = "policy.yaml can allow it:  http: {addresses: [...]}"
            yield found.problem(_path(call, key), f"{host} is a link-local or metadata address", "beyond-limits", hint=hint)
        elif host and changes and key != "done_url" and not reaching.may_change(host, policy.http):
            hosts = policy.http.hosts or ()
            hint = f"policy.yaml allows {schema.listed(hosts, last='and')}" if hosts else "policy.yaml allows none"
            yield found.problem(_path(call, key), f'nothing may be changed at the host "{host}"', "beyond-limits", hint=hint)


def _commands(found: Document, call: outline.CallOutline, policy: Policy) -> Iterator[Problem]:
    for key in ("argv", "undo_argv"):
        argv = outline.listed(call.arguments, key)
        is_literal = bool(argv) and all(isinstance(each, str) and "${{" not in each for each in argv)
        if is_literal and not commands.allowed(argv, policy.commands):
            hint = f"policy.yaml allows: {commands.show(policy.commands)}"
            yield found.problem(_path(call, key), "policy.yaml does not allow this command", "beyond-limits", hint=hint)


def _host(url: Any) -> str:
    try:
        return urlsplit(url).hostname or "" if isinstance(url, str) else ""
    except ValueError:  # brackets that do not match
        return ""


def _limits(found: Document, call: outline.CallOutline, values: Any, policy: Policy) -> Iterator[Problem]:
    namespace, allowed = _literal(values.get("namespace")), policy.limits.namespaces
    if isinstance(namespace, str) and allowed is not None and namespace not in allowed:
        hint = f"policy.yaml allows {schema.listed(allowed, last='and')}" if allowed else "policy.yaml allows none"
        yield found.problem(_path(call, "namespace"), f'nothing may be changed in the namespace "{namespace}"', "beyond-limits", hint=hint)
    for key, names in (("cluster", policy.limits.clusters), ("account", policy.limits.accounts)):
        name = _literal(values.get(key))
        if isinstance(name, str) and names is not None and name not in names:
            hint = f"policy.yaml allows {schema.listed(names, last='and')}" if names else "policy.yaml allows none"
            yield found.problem(_path(call, key), f'nothing may be changed in the {key} "{name}"', "beyond-limits", hint=hint)
    replicas, most = values.get("replicas"), policy.limits.max_replicas
    if isinstance(replicas, int) and most is not None and replicas > most:
        sentence = f"{replicas} replicas are more than policy.yaml allows"
        yield found.problem(_path(call, "replicas"), sentence, "beyond-limits", hint=f"at most {most}")


def _unknown(found: Document, path: KeyPath, what: str, value: str, names: Collection[str]) -> Problem:
    hint = schema.nearest(value, names) or (f"policy.yaml names {schema.listed(names, last='and')}" if names else "policy.yaml names none")
    return found.problem(path, f'policy.yaml names no {what} "{value}"', f"unknown-{what.split(maxsplit=1)[0].lower()}", hint=hint)


def _path(call: outline.CallOutline, key: str) -> KeyPath:
    return (*call.path, "with", key) if key in call.arguments else ("defaults", key)


def _literal(value: Any) -> Any:
    return None if isinstance(value, str) and "${{" in value else value
