"""Children that die with their parent: no process of ours outlives the one that started it, not even after kill -9.

Two ropes, because each has a hole. Linux's parent-death signal works at once and survives exec, but other systems lack it, and it is not sent
when the parent died before it was set. The end of a pipe works everywhere, but only while a thread of ours can run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_PR_SET_PDEATHSIG = 1


def spawn(
    command: Sequence[str], *, env: Mapping[str, str], output: IO[bytes] | int, folder: Path | None = None, fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start `python -m command...`, in a process group of its own: ctrl-C reaches only us, and we end our children in order.

    The module calls `hold()` first. Its standard input is the pipe whose end means that we are gone.
    """
    return subprocess.Popen(  # noqa: S603  our own interpreter, modules of ours
        [sys.executable, "-m", *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(env),
        cwd=folder,
        pass_fds=fds,
        process_group=0,
    )


def hold(rope: int | None = 0, *, on_word: Callable[[], None] = lambda: None) -> None:
    """Die when the parent does. `rope` is the file descriptor of a pipe that only the parent holds open; None when there is none.

    `on_word` is called, in a thread, when the parent writes something into it.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if rope is not None:
        threading.Thread(target=_die_at_the_end_of, args=(rope, on_word), name="lifeline", daemon=True).start()


def _die_at_the_end_of(rope: int, on_word: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(rope, 1):
            on_word()
    os.kill(os.getpid(), signal.SIGKILL)


def end(process: subprocess.Popen[bytes], *, patience: float) -> int:
    """Ask a child to end; after `patience` seconds insist. Returns its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    code = process.wait()
    if process.stdin:
        process.stdin.close()
    return code
