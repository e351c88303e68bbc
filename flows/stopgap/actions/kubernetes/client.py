"""One cluster of policy.yaml: guarded requests with the step's deadline, and answers translated into the errors of the contract."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from stopgap.actions import guard
from stopgap.actions.contract import LONGEST_CALL, InDoubtError, PermanentError, TemporaryError
from stopgap.actions.kubernetes import answers, credentials
from stopgap.actions.transports import USER_AGENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.actions.contract import Context
    from stopgap.policy.model import ClusterName

JSON = dict[str, Any]
# Seconds for one request, if the step's deadline allows so much. A hung connection must not eat a whole rollout's time; the API server itself
# gives up after 60 s at the latest.
LONGEST_READ, LONGEST_WRITE = 10.0, LONGEST_CALL.total_seconds()


@contextmanager
def connect(context: Context, cluster: ClusterName) -> Iterator[Client]:
    """Open a client for the cluster and close its connections in the end."""
    access = credentials.find(context, cluster)
    client = Client(context, access)
    try:
        yield client
    finally:
        client.close()


class Client:
    """Speaks JSON with one API server. Nothing is repeated by itself, no redirect is followed."""

    def __init__(self, context: Context, access: credentials.Access) -> None:
        from kubernetes.client.rest import RESTClientObject

        self.context = context
        self.access = access
        self._pool = RESTClientObject(access.configuration).pool_manager

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()

    def get(self, path: str, **query: str) -> JSON:
        """Read an object or a list."""
        return self._send("GET", path, query, body=None)

    def patch(self, path: str, body: Any, *, dry_run: bool) -> JSON:
        """Change an object: a strategic merge when the body is an object, a JSON patch when it is a list.

        With `dry_run` the server checks the change, does not make it, and answers with the object as it would be.
        """
        query = {"dryRun": "All"} if dry_run else {}
        kind = "json-patch" if isinstance(body, list) else "strategic-merge-patch"
        return self._send("PATCH", path, query, body=body, content_type=f"application/{kind}+json")

    def post(self, path: str, body: JSON, *, dry_run: bool) -> JSON:
        """Create an object, or order what a subresource does; with `dry_run` the server only checks it."""
        return self._send("POST", path, {"dryRun": "All"} if dry_run else {}, body=body)

    def delete(self, path: str, body: JSON, *, dry_run: bool) -> JSON:
        """Delete an object, with the options in the body; with `dry_run` the server only checks it.

        It is asked in the body and in the query: of a DELETE with a body the server reads the body alone.
        """
        query, body = ({"dryRun": "All"}, {**body, "dryRun": ["All"]}) if dry_run else ({}, body)
        return self._send("DELETE", path, query, body=body)

    def _send(self, method: str, path: str, query: Mapping[str, str], *, body: Any, content_type: str = "application/json") -> JSON:
        url = f"{self.access.url}{path}" + (f"?{urlencode(query)}" if query else "")
        if self.context.is_dry:
            guard.check_kubernetes(method, url, body)
        request = answers.Request(method, path, self.access, may_change=method != "GET" and "dryRun" not in query)
        response = self._exchange(request, url, body=None if body is None else json.dumps(body).encode(), content_type=content_type)
        return answers.read(request, response.status, response.headers, response.data)

    def _exchange(self, request: answers.Request, url: str, *, body: bytes | None, content_type: str) -> Any:
        import urllib3
        from urllib3 import exceptions

        left = self.context.seconds_left()
        if left <= 0:
            raise TemporaryError(f"{request}: the step's deadline has passed; nothing was sent.")
        patience = self.context.sending(LONGEST_WRITE) if request.may_change else min(left, LONGEST_READ)
        timeout = urllib3.Timeout(connect=min(patience, LONGEST_READ), read=patience, total=patience)
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": USER_AGENT, **self._authorization()}
        try:
            with guard.passage():
                return self._pool.request(request.method, url, body=body, headers=headers, timeout=timeout, retries=False, redirect=False)
        except (exceptions.NewConnectionError, exceptions.ConnectTimeoutError, exceptions.ProxyError) as error:
            raise TemporaryError(f"{request}: {self._place()} cannot be reached ({_cause(error)}). Nothing was sent.") from error
        except exceptions.SSLError as error:
            raise PermanentError(f"{request}: {self._place()} is not trusted ({_cause(error)}). Nothing was sent.") from error
        except exceptions.HTTPError as error:
            if request.may_change:
                raise InDoubtError(
                    f"{request}: {self._place()} did not answer ({_cause(error)}); the request may have been carried out."
                ) from error
            raise TemporaryError(f"{request}: {self._place()} did not answer ({_cause(error)}). Nothing was changed.") from error

    def _authorization(self) -> dict[str, str]:
        found = self.access.configuration.auth_settings().get("BearerToken")
        return {found["key"]: found["value"]} if found and found["value"] else {}

    def _place(self) -> str:
        return f'the API server {self.access.url} of cluster "{self.access.cluster}"'


def _cause(error: Exception) -> str:
    text = str(error).split("): ", 1)[-1] if "object at 0x" in str(error) else str(error)
    return f"{type(error).__name__}: {text}"
