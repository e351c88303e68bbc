"""Stops the embedded PostgreSQL when `up` was killed and could not: `python -m stopgap.engine.guardian HOME`.

The database server outlives its starter on purpose, since others may use it. This process holds a share in it, waits for the end of the pipe
that only `up` holds, and then leaves: whoever leaves last stops the server. It is the one child that does not die with its parent at once.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from stopgap.timeline import cluster, postgres

_TRIES = 50  # times a fifth of a second: the other children of a killed `up` let go within a moment


def main(home: Path) -> None:
    """Wait until `up` is gone, then leave the database, and again while its other children are still letting go."""
    share = postgres.start(home)
    while os.read(0, 1):
        pass
    for _ in range(_TRIES):
        share.close()
        if not (home / "postgres" / str(cluster.MAJOR) / "postmaster.pid").exists():
            return
        time.sleep(0.2)
        share = postgres.start(home)
    share.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
