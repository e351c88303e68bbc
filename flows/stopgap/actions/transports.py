"""The only ways out: HTTP clients that ask the guard before a request leaves. Nothing of the user's environment (proxies, .netrc) is used."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import httpx

from stopgap import __version__
from stopgap.actions import addresses, guard

if TYPE_CHECKING:
    import ssl

    from stopgap.actions.contract import Context
    from stopgap.policy.model import HttpRules

USER_AGENT = f"stopgap/{__version__}"


@functools.cache
def trust() -> ssl.SSLContext:
    """Return whom we trust: certifi's authorities. Reading them takes 20 ms, so that it is done once a process; the worker does it before it forks."""
    return httpx.create_ssl_context(trust_env=False)


class GuardedTransport(httpx.BaseTransport):
    """Sends what the guard lets pass (in a dry run GET, HEAD and the POSTs that are known to read), and never to an address that policy does not allow."""

    def __init__(self, *, is_dry: bool, rules: HttpRules) -> None:
        self._is_dry = is_dry
        self._rules = rules
        self._inner = httpx.HTTPTransport(verify=trust(), trust_env=False, retries=0)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Check, then send; the connection is made inside the guard's passage, and the answer is read there too."""
        if self._is_dry and not guard.only_reads(request.extensions.get("reading", ""), request):
            guard.check_http(request.method, str(request.url))
        with guard.passage():
            return self._send(request)

    def _send(self, request: httpx.Request) -> httpx.Response:
        """Connect to the very addresses that were checked, one after the other until one takes the connection."""
        host, port = request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)
        try:
            found = addresses.resolve(host, port, rules=self._rules)
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        for address in found[:-1]:
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return self._inner.handle_request(_aimed(request, address, share=len(found)))
        return self._inner.handle_request(_aimed(request, found[-1], share=len(found)))

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def _aimed(request: httpx.Request, address: str, *, share: int) -> httpx.Request:
    """Return the same request to one of a host's addresses; certificate and Host header are still those of the name, connecting has its share of the time."""
    times = dict(request.extensions.get("timeout", {}))
    if times.get("connect"):
        times["connect"] /= share
    extensions = {**request.extensions, "timeout": times, "sni_hostname": request.url.host}
    url = request.url.copy_with(host=address)
    return httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)


def http_client(context: Context) -> httpx.Client:
    """Return an HTTP client for this step: the deadline is its timeout, it follows no redirects and takes no proxy from the environment."""
    timeout = httpx.Timeout(max(0.001, context.seconds_left()))
    transport = GuardedTransport(is_dry=context.is_dry, rules=context.policy.http)
    return httpx.Client(transport=transport, timeout=timeout, trust_env=False, headers={"user-agent": USER_AGENT})
