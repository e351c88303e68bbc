"""One holder at a time: a lock on a file, given back by the system when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def take(path: Path) -> int | None:
    """Take the lock and return its file descriptor, which keeps it until it is closed; None when somebody holds it. Children do not inherit it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if not any(_try(descriptor) for _ in range(3)):
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def holder(path: Path) -> int | None:
    """Return the process that holds the lock; None when nobody does. 0 when it has just taken it and not yet said who it is."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, 20, 0) or b"0")
    else:
        return None
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.05)  # a `holder` that only looks has it for some microseconds
        return False
    return True
