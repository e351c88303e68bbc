"""One line to a local program's socket, and its answer: guarded, with the step's deadline."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

from stopgap.actions import guard
from stopgap.actions.contract import InDoubtError, TemporaryError

if TYPE_CHECKING:
    from stopgap.actions.contract import Context

LONGEST = 10.0  # seconds for one question; a runtime socket answers within milliseconds
READING = re.compile(r"show (servers state|stat|info)( [A-Za-z0-9_.:-]+)*")  # what a dry run may ask an haproxy


def ask(context: Context, address: str, line: str) -> str:
    """Send one line and return everything that is answered until the other side closes.

    `address` is the path of a Unix socket or host:port. TemporaryError: nothing was sent. InDoubtError: it may have been carried out.
    """
    is_reading = READING.fullmatch(line) is not None
    if context.is_dry and not is_reading:
        raise guard.DryRunViolation(f"A dry run tried to tell {address}: {line}; it may only ask. Nothing was sent.")
    left = min(LONGEST, context.seconds_left()) if is_reading else context.sending(LONGEST)
    if left <= 0:
        raise TemporaryError(f"{address}: the step's deadline has passed; nothing was sent.")
    connection = _connect(address, left)
    try:
        with connection:
            connection.sendall(f"{line}\n".encode())
            return _read(connection)
    except OSError as error:
        if is_reading:
            raise TemporaryError(f"{address} did not answer ({error}). Nothing was changed.") from error
        raise InDoubtError(f"{address} did not answer ({error}); {line} may have been carried out.") from error


def _connect(address: str, timeout: float) -> socket.socket:
    try:
        with guard.passage():
            if address.startswith("/"):
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(timeout)
                connection.connect(address)
                return connection
            host, _, port = address.rpartition(":")
            return socket.create_connection((host, int(port)), timeout=timeout)
    except OSError as error:
        raise TemporaryError(f"{address} cannot be reached ({error}). Nothing was sent.") from error


def _read(connection: socket.socket) -> str:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts).decode(errors="replace")
