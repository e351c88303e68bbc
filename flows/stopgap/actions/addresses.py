"""Which addresses a name stands for, and that none of them is one from which a machine's credentials could be fetched."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from stopgap.actions.contract import PermanentError
from stopgap.policy import reaching

if TYPE_CHECKING:
    from stopgap.policy.model import HttpRules


def resolve(host: str, port: int, *, rules: HttpRules) -> tuple[str, ...]:
    """Return a host's addresses, best first; OSError when it has none, PermanentError when policy does not allow one of them.

    Whoever connects to what is returned, and not to the name, is not led elsewhere by a second answer of the name server.
    """
    found = tuple(dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    for address in found:
        if not reaching.may_reach(address, rules):
            through = "" if address == host else f" ({address})"
            raise PermanentError(
                f"{host}{through} is a link-local or metadata address, which may give out a machine's credentials; nothing was sent.\n"
                "If it is meant, let policy.yaml say so:  http: {addresses: [...]}"
            )
    return found
