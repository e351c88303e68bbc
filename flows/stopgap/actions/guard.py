"""Keeps a dry run from changing anything: literal allow-lists for requests, and an audit hook for everything else.

Two walls. The transports (`stopgap.actions.transports`) ask `check_http` and `check_kubernetes` before a request leaves. And once
`forbid_changes` was called, the interpreter itself refuses to start programs and to connect from anywhere but such a transport, so that a
bug in an action raises instead of acting. A hook stays for the life of the process: a dry run has a process of its own.

What the hook cannot see: connections that C libraries open by themselves (libpq to our own database). Actions use none.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Protocol

    class Request(Protocol):
        """What is looked at of a request."""

        @property
        def method(self) -> str: ...  # noqa: D102
        @property
        def url(self) -> object: ...  # noqa: D102
        @property
        def content(self) -> bytes: ...  # noqa: D102


Address = tuple[str, int] | str  # a host and a port, or the path of a Unix socket

HTTP_METHODS = frozenset({"GET", "HEAD"})
# A signed address carries the right to do something in itself, and AWS does much by GET.
SIGNATURES = frozenset({"x-amz-signature", "x-amz-credential", "x-goog-signature", "awsaccesskeyid", "signature", "sig"})
# They go out as GET or POST and run or reach something inside the cluster.
ACTING_SUBRESOURCES = frozenset({"exec", "attach", "portforward", "proxy"})
# The API server's own groups honour dryRun, and so do custom resources, which it serves itself; an aggregated API may not.
DRY_RUN_GROUPS = frozenset(
    {"", "apps", "autoscaling", "batch", "policy", "networking.k8s.io", "gateway.networking.k8s.io", "networking.istio.io"}
)
ACCESS_REVIEW = re.compile(r"/apis/authorization\.k8s\.io/v1/selfsubjectaccessreviews")
# Searches that services take only as a POST, and the one that gives out a token. Each client names the one it means.
READING_POSTS = {
    "elasticsearch": re.compile(r"(/[\w.%*,-]+)+/_search"),
    "nerdgraph": re.compile(r"/graphql"),
    "splunk": re.compile(r"/services/search/(v2/)?jobs/export"),
    "zoom": re.compile(r"/oauth/token"),
}
_MUTATION = re.compile(rb"\b(mutation|subscription)\b", re.IGNORECASE)
STARTING_PROGRAMS = frozenset(
    {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn"}
)
SENDING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})

_RESOURCE = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/[^/]+/(?:watch/)?(?:namespaces/[^/]+/)?(?P<resource>[^/]+)(?:/[^/]+(?:/(?P<sub>.+))?)?"
)
_passing = threading.local()


class DryRunViolation(StopgapError):  # noqa: N818  it is named for what happened, and DESIGN.md names it
    """A dry run tried to change something; it was refused before anything left."""


class OutsideAddressError(StopgapError, ConnectionRefusedError):
    """Only loopback addresses may be reached here."""


def check_http(method: str, url: str) -> None:
    """DryRunViolation unless the request only reads."""
    if method.upper() not in HTTP_METHODS:
        raise DryRunViolation(
            f"A dry run tried {method.upper()} {url}; it may send only {' and '.join(sorted(HTTP_METHODS))}. Nothing was sent."
        )
    parts = urlsplit(url)
    if SIGNATURES & {key.lower() for key in parse_qs(parts.query, keep_blank_values=True)}:
        raise DryRunViolation(
            f"A dry run tried {method.upper()} {parts.scheme}://{parts.netloc}{parts.path} with a signature; what that does cannot be told. "
            f"Nothing was sent."
        )


def only_reads(name: str, request: Request) -> bool:
    """Say whether this is a POST that is known by this name to read: by its path, and where that is not enough by its body."""
    found = READING_POSTS.get(name)
    if found is None or request.method.upper() != "POST" or not found.fullmatch(urlsplit(str(request.url)).path):
        return False
    return name != "nerdgraph" or not _MUTATION.search(request.content)


def check_kubernetes(method: str, url: str, body: Any = None) -> None:
    """DryRunViolation unless the request to a Kubernetes API only reads, or asks the server for its own dry run."""
    # Seen: a DELETE that has a body is carried out by what the body says; the API server does not look at the query then.
    deletes = method.upper() == "DELETE" and body is not None and (not isinstance(body, dict) or body.get("dryRun") != ["All"])
    if deletes or not _is_harmless(method.upper(), url):
        raise DryRunViolation(
            f"A dry run tried {method.upper()} {url}; it may read (but not exec, attach, portforward or proxy) and send changes with "
            f"dryRun=All alone. Nothing was sent."
        )


def _is_harmless(method: str, url: str) -> bool:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if path != parts.path or "//" in path or "/../" in f"{path}/" or "/./" in f"{path}/":
        return False  # a path that the server may read in another way than we do
    found = _RESOURCE.fullmatch(path)
    if found and (found["resource"] == "proxy" or ACTING_SUBRESOURCES & set((found["sub"] or "").split("/"))):
        return False
    if method in HTTP_METHODS:
        return True
    if method == "POST" and ACCESS_REVIEW.fullmatch(path):
        return True
    asks_dry_run = parse_qs(parts.query, keep_blank_values=True).get("dryRun") == ["All"]
    return bool(found) and asks_dry_run and (found["group"] or "") in DRY_RUN_GROUPS if found else False


@contextlib.contextmanager
def passage() -> Iterator[None]:
    """Let this thread connect: the guarded transports hold it open around a request that they have checked."""
    before = getattr(_passing, "open", False)
    _passing.open = True
    try:
        yield
    finally:
        _passing.open = before


def forbid_changes(allow: Iterable[Address] = ()) -> None:
    """From now on refuse, in this process and for good, to start programs and to connect outside a guarded transport.

    `allow` are addresses of our own that stay reachable: Prefect's API, our database.
    """
    allowed = _resolve(allow)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in STARTING_PROGRAMS:
            raise DryRunViolation(
                f"A dry run tried to start a program ({event} {_show(arguments)}); it may start none. Nothing was started."
            )
        if event in SENDING and not getattr(_passing, "open", False) and not _is_allowed(arguments, allowed):
            raise DryRunViolation(f"A dry run tried to connect to {_show(arguments)} past the guarded transports. Nothing was sent.")

    sys.addaudithook(refuse)


def only_loopback() -> None:
    """From now on refuse, in this process and for good, every connection that leaves this machine."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in SENDING and not _is_local(arguments[1]):
            raise OutsideAddressError(f"This process may reach loopback addresses alone, and tried {_show(arguments)}. Nothing was sent.")

    sys.addaudithook(refuse)


def _resolve(allow: Iterable[Address]) -> frozenset[Address]:
    found: set[Address] = set()
    for address in allow:
        found.add(address)
        if isinstance(address, tuple):
            found.update((str(info[4][0]), address[1]) for info in socket.getaddrinfo(*address, type=socket.SOCK_STREAM))
    return frozenset(found)


def _is_allowed(arguments: tuple[Any, ...], allowed: frozenset[Address]) -> bool:
    address = _plain(arguments[1])
    return address is None or address in allowed


def _plain(address: Any) -> Address | None:
    # None is sendmsg on a socket that is connected already: its connect was judged.
    if address is None:
        return None
    if isinstance(address, bytes):
        return address.decode(errors="replace")
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else str(address)


def _is_local(address: Any) -> bool:
    plain = _plain(address)
    if plain is None or isinstance(plain, str) or plain[0] == "localhost":
        return True
    try:
        found = ipaddress.ip_address(plain[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def _show(arguments: tuple[Any, ...]) -> str:
    shown = [str(item) for item in arguments if not isinstance(item, socket.socket) and item is not None]
    return " ".join(shown[:2])
