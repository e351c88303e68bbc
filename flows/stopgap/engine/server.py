"""The embedded Prefect server: a child on loopback with its own folder, password and origin; and the way other verbs find it.

Nothing here imports Prefect: that takes two seconds, and settings are read at import, so the environment comes first.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from stopgap import home as homes
from stopgap.engine import lifeline
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import httpx

HOST = "127.0.0.1"
_LOG_LIMIT = 10_000_000  # bytes; a longer log is moved aside at the next start


class ServerError(StopgapError):
    """The Prefect server did not start."""


class NotRunningError(StopgapError):
    """Nothing is running. Start it first:  stopgap up"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefectServer:
    """A running embedded server. `auth` is `user:password`: the UI's login wants the whole string, clients send it as basic authentication.

    `moved_from` is the port it had before, when that one was taken.
    """

    api_url: str
    ui_url: str
    auth: str = field(repr=False)
    home: Path
    process: subprocess.Popen[bytes] = field(repr=False)
    moved_from: int | None = None

    @property
    def pid(self) -> int:
        """The server's process."""
        return self.process.pid

    def end(self) -> None:
        """Stop serving; runs that are under way finish without it."""
        lifeline.end(self.process, patience=10)


def start(home: Path, database_url: str, *, patience: float = 90) -> PrefectServer:
    """Start a server on `database_url` (SQLAlchemy, asyncpg) and return when it answers; ServerError after `patience` seconds.

    Call it from the main thread: the server ends with the thread that started it.
    """
    server = launch(home, database_url)
    wait(server, patience=patience)
    return server


def launch(home: Path, database_url: str) -> PrefectServer:
    """Start a server without waiting for it; its address is known at once and stays the same from start to start, unless its port is taken."""
    kept = _kept_port(home)
    listening = listen(kept or 0)
    port = listening.getsockname()[1]
    write_private(home / "prefect.json", {"port": port})
    auth = _auth(home)
    url = f"http://{HOST}:{port}"
    (home / "log").mkdir(mode=0o700, exist_ok=True)
    (home / "prefect").mkdir(mode=0o700, exist_ok=True)
    env = {**scrubbed(os.environ), **_client(f"{url}/api", auth, home), **_serving(url, auth, database_url, home)}
    with listening, open_log(home / "log" / "prefect.log") as log:
        command = ["stopgap.engine.prefect_server", str(listening.fileno())]
        process = lifeline.spawn(command, env=env, output=log, folder=home / "prefect", fds=[listening.fileno()])
    moved_from = kept if kept not in {None, port} else None
    return PrefectServer(api_url=f"{url}/api", ui_url=url, auth=auth, home=home, process=process, moved_from=moved_from)


def wait(server: PrefectServer, *, patience: float = 90, is_told_to_stop: Callable[[], bool] = lambda: False) -> None:
    """Return when the server answers, or when we are told to stop; ServerError when it ends or after `patience` seconds."""
    import httpx

    deadline = time.monotonic() + patience
    with httpx.Client(trust_env=False, timeout=5) as client:
        while not _answers(client, server) and not is_told_to_stop():
            code = server.process.poll()
            if code is not None:
                raise _failed(server, f"ended with code {code} while it started")
            if time.monotonic() > deadline:
                raise _failed(server, f"did not answer within {patience:g} s")
            time.sleep(0.1)


def environment(server: PrefectServer) -> dict[str, str]:
    """Return what a client of this server needs in its environment, to be laid over a `scrubbed` one."""
    return _client(server.api_url, server.auth, server.home)


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without Prefect's settings: those of the user are for the user's own Prefect."""
    return {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}


def current() -> dict[str, str]:
    """Return the environment in which Prefect's client reaches the server in use: the user's `PREFECT_API_URL`, or that of the running `up`.

    NotRunningError when there is neither. Apply it before anything imports Prefect.
    """
    if os.environ.get("PREFECT_API_URL"):
        return {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}
    home = homes.data_folder()
    running = read_running(home)
    if running is None:
        raise NotRunningError(f"Nothing is running on {home}.\nStart it first:  stopgap up")
    return {str(name): str(value) for name, value in running["environment"].items()}


def use_current() -> None:
    """Make `current()` this process's environment; the user's other Prefect settings no longer apply."""
    env = current()
    for name in [name for name in os.environ if name.startswith("PREFECT_") and name not in env]:
        del os.environ[name]
    os.environ.update(env)


def read_running(home: Path) -> dict[str, Any] | None:
    """Return what the running `up` on this home wrote about itself (`pid`, `environment`, `ui_url`); None when none is running."""
    from stopgap.engine import lock

    path = home / "up.json"
    if lock.holder(home / "up.lock") is None or not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def write_private(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON that only its owner may read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _client(api_url: str, auth: str, home: Path) -> dict[str, str]:
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), HOST]))
    return {
        "PREFECT_API_URL": api_url,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_UI_URL": api_url.removesuffix("/api"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": direct,  # a proxy of the user's is not asked for loopback
        "no_proxy": direct,
    }


def _serving(url: str, auth: str, database_url: str, home: Path) -> dict[str, str]:
    return {
        "PREFECT_API_DATABASE_CONNECTION_URL": database_url,
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": url.rsplit(":", 1)[1],
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # V2 hides Resume in a menu
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "prefect" / "ui"),  # the default lies inside the installed package
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }


def _kept_port(home: Path) -> int | None:
    """The port of the last server; none when its file cannot be read."""
    try:
        port = json.loads((home / "prefect.json").read_text())["port"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return port if isinstance(port, int) and 0 < port < 2**16 else None


def _auth(home: Path) -> str:
    """Return the password of this home's server; the first start makes it. Its file holds exactly what the UI's login wants."""
    path = home / "prefect.auth"
    try:
        kept = path.read_text().strip()
    except FileNotFoundError:
        kept = ""
    if ":" in kept:
        return kept
    made = f"stopgap:{secrets.token_urlsafe(18)}"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(made)
    return made


def listen(port: int) -> socket.socket:
    """Take the wanted port, or any other when it is taken.

    It is listened on at once: two that only bind the same port may both have it, and whoever connects while its server starts waits for that.
    """
    for wanted in (port, 0):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, wanted))
            listening.listen()
        except OSError:
            listening.close()
        else:
            return listening
    raise ServerError(f"No port could be had on {HOST}; is the machine out of ports or of open files?")


def open_log(path: Path) -> IO[bytes]:
    """Open a log of ours to append to; a long one is moved aside first."""
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _answers(client: httpx.Client, server: PrefectServer) -> bool:
    import httpx

    try:
        return client.get(f"{server.api_url}/health").is_success
    except httpx.HTTPError:
        return False


def _failed(server: PrefectServer, what: str) -> ServerError:
    server.end()
    return ServerError(f"The Prefect server {what}. Its log, {server.home}/log/prefect.log, ends:\n{_tail(server)}")


def _tail(server: PrefectServer, lines: int = 5) -> str:
    text = (server.home / "log" / "prefect.log").read_text(errors="replace")
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])
