"""The account that runs the embedded server: this user's own, or for root an unprivileged one, because PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# `stopgap` first, so that an administrator can make one on purpose; `nobody` last, because other programs run as nobody too.
_CANDIDATES = ("stopgap", "postgres", "_postgres")
_CREATE = ("useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", "stopgap")


class AccountError(StopgapError):
    """No account was found that could run the embedded PostgreSQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A local account. `is_other` says that it is not the one this process runs as, so that commands change to it."""

    name: str
    uid: int
    gid: int
    is_other: bool

    def run(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        seconds: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this account with an environment of its own (no PG* variable of the user's reaches it)."""
        try:
            return subprocess.run(  # noqa: S603  the server's own programs, by their full path
                [os.fspath(part) for part in command],
                cwd=folder or "/",
                env={"PATH": os.defpath, "LC_ALL": "C", **(environment or {})},
                user=self.uid if self.is_other else None,
                group=self.gid if self.is_other else None,
                extra_groups=() if self.is_other else None,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except PermissionError as error:
            raise AccountError(
                f'This process is root but may not change to the account "{self.name}", and PostgreSQL refuses to run as root ({error}).\n'
                "Run stopgap as an ordinary user, or name your own PostgreSQL:  STOPGAP_DATABASE_URL=postgresql://..."
            ) from error

    def can(self, what: str, path: Path) -> bool:
        """Whether the account may enter a folder or execute a file (`x`), read it (`r`) or write it (`w`)."""
        return self.run(["/bin/sh", "-c", f'test -{what} "$0"', path]).returncode == 0

    def own(self, path: Path) -> None:
        """Give it a file or folder; nothing to do when it is this process's own account."""
        if self.is_other:
            os.chown(path, self.uid, self.gid)


def for_server(data: Path) -> Account:
    """Return the account for this data folder: its owner once it exists, else one found or made."""
    if os.geteuid() != 0:
        return Account(name=_name_of(os.geteuid()), uid=os.geteuid(), gid=os.getegid(), is_other=False)
    if data.exists():
        found = data.stat()
        return Account(name=_name_of(found.st_uid), uid=found.st_uid, gid=found.st_gid, is_other=True)
    return _look_up(*_CANDIDATES) or _create() or _look_up("nobody") or _give_up()


def require_reachable(account: Account, folder: Path) -> None:
    """AccountError names the first folder above `folder` that the account may not enter. No folder's mode is ever changed."""
    if not account.is_other or account.can("x", folder):
        return
    shut = next((parent for parent in reversed(folder.parents) if not account.can("x", parent)), folder)
    raise AccountError(
        f'PostgreSQL refuses to run as root, so it runs as "{account.name}", which may not enter {shut}.\n'
        f"Choose a folder it can reach:  STOPGAP_HOME=/var/lib/stopgap, or let it pass through:  chmod o+x {shut}"
    )


def _look_up(*names: str) -> Account | None:
    for name in names:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, uid=found.pw_uid, gid=found.pw_gid, is_other=True)
    return None


def _create() -> Account | None:
    """Make the system account `stopgap` where there is a `useradd`."""
    useradd = shutil.which(_CREATE[0])
    if useradd is None:
        return None
    subprocess.run([useradd, *_CREATE[1:]], capture_output=True, check=False)  # noqa: S603  a literal command
    return _look_up("stopgap")


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise AccountError(
            f"The user number {uid} has no account on this machine, and PostgreSQL needs one.\n"
            f"Add a line to /etc/passwd for it, or name your own PostgreSQL:  STOPGAP_DATABASE_URL=postgresql://..."
        ) from None


def _give_up() -> Account:
    raise AccountError(
        "PostgreSQL refuses to run as root, and this machine has none of the accounts stopgap, postgres and nobody.\n"
        "Make one:  useradd --system stopgap"
    )
