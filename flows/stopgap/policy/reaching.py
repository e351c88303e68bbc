"""`http` of policy.yaml: where HTTP actions may go, and the addresses that nobody may be sent to unless it is written there."""

from __future__ import annotations

import fnmatch
import ipaddress
from typing import TYPE_CHECKING, Any

from stopgap.policy.model import HttpRules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.document import Document
    from stopgap.problems import Problem

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Link-local, and the addresses outside of it from which clouds give a machine its credentials: AWS and Google by IPv6, Alibaba, Oracle, Azure.
SPECIAL = (
    "169.254.0.0/16",
    "fe80::/10",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
    "100.100.100.200/32",
    "192.0.0.192/32",
    "168.63.129.16/32",
)
_SPECIAL = tuple(map(ipaddress.ip_network, SPECIAL))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def http(value: Mapping[str, Any]) -> HttpRules:
    """Read the rules from what the schema has let pass."""
    return HttpRules(hosts=tuple(value["hosts"]) if "hosts" in value else None, addresses=tuple(value.get("addresses", ())))


def problems(found: Document) -> Iterator[Problem]:
    """Name the addresses that are none."""
    for index, address in enumerate(found.data.get("http", {}).get("addresses", [])):
        try:
            ipaddress.ip_network(address)
        except ValueError:
            hint = "write it like 169.254.169.254, or a network like 169.254.0.0/16"
            yield found.problem(("http", "addresses", index), f'"{address}" is no address and no network', "bad-address", hint=hint)


def may_change(host: str, rules: HttpRules) -> bool:
    """Say whether `http.request` may change something at this host."""
    return rules.hosts is None or any(fnmatch.fnmatchcase(host.lower(), pattern.lower()) for pattern in rules.hosts)


def may_reach(address: str, rules: HttpRules) -> bool:
    """Say whether HTTP actions may go to this address; of what is no address but a name, its addresses will be asked."""
    try:
        inner = _inner(address)
    except ValueError:
        return True
    is_special = any(inner in network for network in _SPECIAL)
    return not is_special or any(inner in ipaddress.ip_network(each) for each in rules.addresses)


def _inner(address: str) -> Address:
    """Unwrap an IPv4 address that is written as an IPv6 one."""
    found = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return found
    if found in _NAT64:
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or found
