"""Where stopgap keeps its data, and where it finds runbooks."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stopgap.problems import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


def data_folder() -> Path:
    """`STOPGAP_HOME`; otherwise `/var/lib/stopgap` for root, `$XDG_DATA_HOME/stopgap` or `~/.local/share/stopgap` for others."""
    named = os.environ.get("STOPGAP_HOME")
    if named:
        return Path(named).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/stopgap")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "stopgap"


def make(folder: Path) -> None:
    """Make a folder for stopgap's data, private; one that exists keeps its mode.

    Root's may be passed through by others (0711): PostgreSQL refuses to run as root, so its own account must reach its data below.
    """
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """Make a home in the temporary folder for as long as a demo or a test lasts."""
    with tempfile.TemporaryDirectory(prefix="stopgap-", ignore_cleanup_errors=True) as folder:
        Path(folder).rmdir()
        make(Path(folder))
        yield Path(folder)


def examples_folder() -> Path:
    """Return the runbooks that come with stopgap: in a checkout `runbooks/`, in a wheel beside the package."""
    inside = Path(__file__).parent / "_runbooks"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "runbooks"


def runbooks_folder() -> Path:
    """`STOPGAP_RUNBOOKS`, otherwise `./runbooks`; UsageError when it is not a folder."""
    named = os.environ.get("STOPGAP_RUNBOOKS", "")
    folder = Path(named or "runbooks").absolute()
    if not folder.is_dir():
        found = f"STOPGAP_RUNBOOKS names {folder}, which is not a folder." if named else f"There is no folder {folder}."
        raise UsageError(f"{found}\nGo to the folder above your runbooks, or name it:  STOPGAP_RUNBOOKS=path/to/runbooks stopgap ...")
    return folder
