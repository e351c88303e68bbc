"""The only ways out: HTTP clients that ask the guard before a request leaves. Nothing of the user's environment (proxies, .netrc) is used."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import httpx

from stopgap import __version__
from stopgap.actions import guard

if TYPE_CHECKING:
    import ssl

    from stopgap.actions.contract import Context

USER_AGENT = f"stopgap/{__version__}"


@functools.cache
def trust() -> ssl.SSLContext:
    """Return whom we trust: certifi's authorities. Reading them takes 20 ms, so that it is done once a process; the worker does it before it forks."""
    return httpx.create_ssl_context(trust_env=False)


class GuardedTransport(httpx.BaseTransport):
    """Sends what the guard lets pass; in a dry run that is GET and HEAD."""

    def __init__(self, *, is_dry: bool) -> None:
        self._is_dry = is_dry
        self._inner = httpx.HTTPTransport(verify=trust(), trust_env=False, retries=0)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Check, then send; the connection is made inside the guard's passage, and the answer is read there too."""
        if self._is_dry:
            guard.check_http(request.method, str(request.url))
        with guard.passage():
            return self._inner.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def http_client(context: Context) -> httpx.Client:
    """Return an HTTP client for this step: the deadline is its timeout, it follows no redirects and takes no proxy from the environment."""
    timeout = httpx.Timeout(max(0.001, context.seconds_left()))
    return httpx.Client(
        transport=GuardedTransport(is_dry=context.is_dry), timeout=timeout, trust_env=False, headers={"user-agent": USER_AGENT}
    )
