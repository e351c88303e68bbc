"""From a cluster's name in policy.yaml to an address and credentials: never the current context, KUBECONFIG or a proxy of the environment."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from stopgap.actions.contract import PermanentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stopgap.actions.contract import Context
    from stopgap.policy.model import Cluster, ClusterName


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a cluster: the official client's configuration, where it came from, and whether it is the one for reading only."""

    cluster: ClusterName
    configuration: Any
    source: str
    is_read_only: bool = False

    @property
    def url(self) -> str:
        """The API server's address."""
        return str(self.configuration.host)


def find(context: Context, name: ClusterName) -> Access:
    """Read the cluster's credentials; a dry run takes the read-only ones where policy names them."""
    cluster = context.policy.clusters.get(name)
    if cluster is None:
        known = ", ".join(sorted(context.policy.clusters)) or "none"
        near = difflib.get_close_matches(name, context.policy.clusters, n=1)
        hint = f' Did you mean "{near[0]}"?' if near else ""
        raise PermanentError(f'policy.yaml knows no cluster "{name}".{hint} It knows: {known}.')
    if cluster.in_cluster:
        return _in_cluster(name)
    if context.is_dry and cluster.read_only is not None:
        return _from_file(cluster, cluster.read_only, is_read_only=True)
    return _from_file(cluster, cluster.kubeconfig, is_read_only=False)


def _fresh_configuration() -> Any:
    from kubernetes.client import configuration

    made = configuration.Configuration()
    made.proxy = None  # the constructor takes it from the environment; a kubeconfig's own proxy-url is set later
    made.no_proxy = None
    return made


def _in_cluster(name: ClusterName) -> Access:
    from kubernetes import config

    configuration = _fresh_configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise PermanentError(
            f'Cluster "{name}" is `in_cluster: true`, but this process does not run in a Pod with a service account: {error}'
        ) from error
    return Access(name, configuration, "the Pod's service account")


def _from_file(cluster: Cluster, path: Path | None, *, is_read_only: bool) -> Access:
    from kubernetes import config

    if path is None:
        raise PermanentError(f'Cluster "{cluster.name}" has neither `kubeconfig` nor `in_cluster` in policy.yaml.')
    if not path.is_file():
        raise PermanentError(f'Cluster "{cluster.name}": there is no kubeconfig {path}.\nCorrect `kubeconfig:` in policy.yaml.')
    configuration = _fresh_configuration()
    try:
        user = _check_context(cluster, path)
        config.load_kube_config(str(path), context=cluster.context, client_configuration=configuration, persist_config=False)
    except (config.ConfigException, yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise PermanentError(f'Cluster "{cluster.name}": {path} cannot be used: {error}') from error
    if "exec" in user and not configuration.api_key and not configuration.cert_file:
        raise PermanentError(
            f'Cluster "{cluster.name}": the credential plugin of context {cluster.context} in {path} gave no credentials.\n'
            f"A dry run starts no programs: give the cluster a `read_only` kubeconfig with a token in policy.yaml."
        )
    return Access(cluster.name, configuration, f"context {cluster.context} of {path}", is_read_only=is_read_only)


def _check_context(cluster: Cluster, path: Path) -> Mapping[str, Any]:
    """Return the user of the cluster's context; PermanentError names the contexts there are."""
    found = yaml.safe_load(path.read_text())  # the client's own list_kube_config_contexts insists on a current context
    contexts = _named(found, "contexts")
    if cluster.context not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        how = (
            f'has no context "{cluster.context}"'
            if cluster.context
            else "is named without a `context:`, and its current context is never used"
        )
        raise PermanentError(f'Cluster "{cluster.name}": {path} {how}. Its contexts are: {known}.')
    context = contexts[cluster.context].get("context")
    user = _named(found, "users").get(context.get("user") if isinstance(context, dict) else None, {}).get("user")
    return user if isinstance(user, dict) else {}


def _named(config: Any, key: str) -> dict[Any, dict[str, Any]]:
    items = config.get(key) if isinstance(config, dict) else None
    return {item.get("name"): item for item in items if isinstance(item, dict)} if isinstance(items, list) else {}
