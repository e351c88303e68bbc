"""`stopgap serve` as a part of `stopgap up`: a child that takes in alerts, on an address that stays the same from start to start."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stopgap.engine import lifeline, server

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

PORT = 4210
_FILE = "reception.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """A running `stopgap serve`. `ready` is told when it serves; `moved_from` is the port it should have had, when that one was taken."""

    url: str
    process: subprocess.Popen[bytes] = field(repr=False)
    ready: int
    moved_from: int | None = None


def launch(home: Path, environment: Mapping[str, str]) -> Reception:
    """Start it without waiting for it."""
    wanted = _kept(home)
    listening = server.listen(wanted)
    port = listening.getsockname()[1]
    server.write_private(home / _FILE, {"port": port})
    receiver, sender = os.pipe()
    with listening, server.open_log(home / "log" / "serve.log") as log:
        command = ["stopgap", "serve", "--fd", str(listening.fileno()), "--ready", str(sender)]
        process = lifeline.spawn(command, env=environment, output=log, fds=[listening.fileno(), sender])
    os.close(sender)
    url = f"http://{server.HOST}:{port}"
    return Reception(url=url, process=process, ready=receiver, moved_from=wanted if wanted != port else None)


def _kept(home: Path) -> int:
    """Return the port of the last start, otherwise the one that everybody expects."""
    try:
        port = json.loads((home / _FILE).read_text())["port"]
    except (OSError, ValueError, KeyError, TypeError):
        return PORT
    return port if isinstance(port, int) and 0 < port < 2**16 else PORT
