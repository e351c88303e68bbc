"""A PostgreSQL data folder and the server in it: made, started, found running, stopped. No lock is taken here; `postgres` does that."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.timeline.account import Account

MAJOR = 18
SUPERUSER = "postgres"
PORT = 5432  # only a part of the socket's name; said everywhere, so that a PGPORT of the user's changes nothing
_SOCKET_PATH_BYTES = 107  # sun_path holds 108 with the closing NUL
_SOCKET_NAME = f".s.PGSQL.{PORT}"
_LOG_BYTES = 5_000_000
_NO_PID = 2**31 - 1  # above every kernel's largest
_ORPHANS = "pre-existing shared memory block"  # children of a killed server are still ending
_SETTINGS = {
    "port": str(PORT),
    "listen_addresses": "",  # no TCP port at all
    "unix_socket_permissions": "0700",
    "max_connections": "200",  # Prefect's pools, the worker's idle children and people's own commands
    "jit": "off",  # our queries are short; compiling them is longer
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class ServerError(StopgapError):
    """The embedded PostgreSQL did not start."""


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A server that lives: what it wrote into its postmaster.pid. One that was just killed lives for a moment, and is not ready."""

    pid: int
    socket: Path
    is_ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The data folder `data`, run by `account` with the programs in `programs`."""

    data: Path
    programs: Path
    account: Account

    def make(self, password: str) -> None:
        """`initdb` beside the final place and rename, so that an interrupted one leaves nothing half made."""
        new = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        self.account.own(new)
        with tempfile.NamedTemporaryFile("w", dir=self.data.parent, prefix=".password-") as file:  # 0600
            file.write(password)
            file.flush()
            self.account.own(Path(file.name))
            made = self.account.run(
                [self.programs / "initdb", "--pgdata", new, "--username", SUPERUSER, "--pwfile", file.name, "--auth", "scram-sha-256",
                 "--encoding", "UTF8", "--locale-provider", "builtin", "--locale", "C.UTF-8", "--no-instructions"]
            )  # fmt: skip
        if made.returncode:
            raise ServerError(f"PostgreSQL could not make its data folder {self.data}.\n{made.stdout}{made.stderr}".rstrip())
        new.rename(self.data)

    def running(self) -> Postmaster | None:
        """Return the server that works on this data folder, or None; a stale postmaster.pid counts for nothing."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            pid, folder, state = int(lines[0]), Path(lines[4]), lines[7].strip()
        except (FileNotFoundError, IndexError, ValueError):
            return None
        answers = _answers(folder)
        return Postmaster(pid, folder, is_ready=answers and state == "ready") if answers or _is_postgres(pid, folder) else None

    def start(self, settings: Mapping[str, str], *, seconds: float = 60) -> Postmaster:
        """Start the server, or wait for the one that is starting; return when it is ready."""
        deadline = time.monotonic() + seconds
        while not ((found := self.running()) and found.is_ready):
            problem = "it is still starting" if found else self._start(settings, seconds)
            if time.monotonic() > deadline or (problem and not found and _ORPHANS not in problem):
                raise ServerError(f"PostgreSQL on {self.data} did not start: {problem}\nIts log:  {self.data / 'server.log'}")
            if problem:
                time.sleep(0.05)  # another process's server: there is nothing to wait on but its file
        return found

    def stop(self) -> None:
        """Stop the server in good order; nobody may be using it."""
        done = self.account.run([self.programs / "pg_ctl", "stop", "--mode", "fast", "--wait"], folder=self.data, environment=self._place)
        if done.returncode and self.running():
            raise ServerError(f"PostgreSQL on {self.data} did not stop: {done.stderr.strip()}")

    @property
    def _place(self) -> dict[str, str]:
        # By the environment and not by --pgdata: pg_ctl would put the path into a shell's line unquoted.
        return {"PGDATA": os.fspath(self.data)}

    def _start(self, settings: Mapping[str, str], seconds: float) -> str:
        """Run pg_ctl; return what went wrong, or nothing."""
        folder = self._socket_folder()
        self._disown(folder)
        self._turn_log()
        chosen = {**_SETTINGS, **settings, "unix_socket_directories": '"{}"'.format(os.fspath(folder).replace('"', '""'))}
        options = shlex.join(word for name, value in chosen.items() for word in ("-c", f"{name}={value}"))
        try:
            done = self.account.run(
                [self.programs / "pg_ctl", "start", "--wait", "--timeout", str(int(seconds)), "--log", "server.log", "--options", options],
                folder=self.data,
                environment=self._place,
                seconds=seconds + 5,
            )
        except subprocess.TimeoutExpired:
            return f"it was not ready within {seconds:g} s"
        return "" if done.returncode == 0 else self._last_words() or done.stderr.strip()

    def _disown(self, folder: Path) -> None:
        """Take a dead server's pid out of its lock files, because by now it may be another program's, or a zombie's, which PostgreSQL would respect.

        The file itself stays: it names the shared memory by which PostgreSQL notices that a child of the dead server still works on the data.
        """
        if self.running() is None and (file := self.data / "postmaster.pid").exists():
            file.write_text("\n".join([str(_NO_PID), *file.read_text().splitlines()[1:], ""]))
            (folder / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)

    def _turn_log(self) -> None:
        log = self.data / "server.log"
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_name("server.log.1"))

    def _last_words(self) -> str:
        try:
            lines = (self.data / "server.log").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return next((line.split("FATAL:", 1)[1].strip() for line in reversed(lines) if "FATAL:" in line), "")

    def _socket_folder(self) -> Path:
        """Return a private folder whose path fits a socket's 107 bytes, beside the data if possible."""
        for folder in self._socket_places():
            if len(os.fsencode(folder / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES and self._make_private(folder):
                return folder
        raise ServerError(
            f"No private folder with a path short enough for PostgreSQL's socket. Choose a shorter one:  STOPGAP_HOME={self.data.anchor}..."
        )

    def _socket_places(self) -> Iterator[Path]:
        yield self.data.parent / "socket"
        name = f"stopgap-{hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]}"
        for place in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108  the folder itself is made private
            if place:
                yield Path(place) / name

    def _make_private(self, folder: Path) -> bool:
        """Make it, 0700 and the account's own; False when it is somebody else's or out of reach."""
        try:
            folder.mkdir(mode=0o700)
            self.account.own(folder)
        except FileExistsError:
            pass
        except OSError:
            return False
        found = folder.lstat()
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == self.account.uid and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
        return is_ours and self.account.can("x", folder)


def require_major(folder: Path) -> Path:
    """Return the data folder of the major version we carry; ServerError when there is only one of another."""
    data = folder / str(MAJOR)
    others = sorted(path.name for path in folder.glob("[0-9]*") if path.name.isdigit() and path != data)
    if data.exists() or not others:
        return data
    raise ServerError(
        f"{folder / others[-1]} holds data of PostgreSQL {others[-1]}, and this stopgap carries PostgreSQL {MAJOR}.\n"
        f"With the older stopgap save it (docs/operations.md, Upgrade), move {folder} away, then restore it with this one."
    )


def _answers(folder: Path) -> bool:
    """Whether somebody listens: also true of a server in another container that shares this folder, whose pid means nothing here."""
    with socket.socket(socket.AF_UNIX) as knock:
        try:
            knock.connect(os.fspath(folder / _SOCKET_NAME))
        except OSError:
            return False
    return True


def _is_postgres(pid: int, folder: Path) -> bool:
    """Whether the process lives and is the server of this socket folder (it may still be recovering, and not listen yet)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        return os.fsencode(folder) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self").exists()  # no /proc on macOS: believe the file; on Linux the process has just ended
