"""Where stopgap keeps its data, and where it finds runbooks."""

from __future__ import annotations

import os
from pathlib import Path

from stopgap.problems import UsageError


def data_folder() -> Path:
    """`STOPGAP_HOME`; otherwise `/var/lib/stopgap` for root, `$XDG_DATA_HOME/stopgap` or `~/.local/share/stopgap` for others."""
    named = os.environ.get("STOPGAP_HOME")
    if named:
        return Path(named).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/stopgap")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "stopgap"


def runbooks_folder() -> Path:
    """`STOPGAP_RUNBOOKS`, otherwise `./runbooks`; UsageError when it is not a folder."""
    named = os.environ.get("STOPGAP_RUNBOOKS", "")
    folder = Path(named or "runbooks").absolute()
    if not folder.is_dir():
        found = f"STOPGAP_RUNBOOKS names {folder}, which is not a folder." if named else f"There is no folder {folder}."
        raise UsageError(f"{found}\nGo to the folder above your runbooks, or name it:  STOPGAP_RUNBOOKS=path/to/runbooks stopgap ...")
    return folder
