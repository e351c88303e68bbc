"""Starting a program: an argument list and no shell, an empty environment, and the step's deadline. A dry run starts none."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stopgap.actions import guard
from stopgap.actions.contract import InDoubtError, PermanentError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopgap.actions.contract import Context

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
MOST = 4000  # characters of what it says that are kept


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended, and the last that it said on both of its outputs."""

    status: int
    said: str


def run(context: Context, argv: Sequence[str]) -> Ended:
    """Run a program to its end. InDoubtError when the deadline passes first; the program and what it started are killed then."""
    if context.is_dry:
        raise guard.DryRunViolation(f"A dry run tried to start {' '.join(argv)}; it may start no program. Nothing was started.")
    left = context.seconds_left()
    if left <= 0:
        raise TemporaryError(f"{argv[0]}: the step's deadline has passed; nothing was started.")
    context.sending()  # the program itself may take longer than one call: who takes the run over asks, and starts nothing again by itself
    try:
        started = subprocess.Popen(  # noqa: S603  an argument list that policy allows, without a shell
            list(argv),
            env=ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise PermanentError(f"{argv[0]} cannot be started: {error.strerror}.") from error
    with started:
        try:
            said, _ = started.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
            raise InDoubtError(f"{argv[0]} had not ended when the step's deadline passed, and was killed.") from None
    return Ended(started.returncode, said.decode(errors="replace").strip()[-MOST:])
