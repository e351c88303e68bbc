"""Ends this process by the kernel's hand when nobody winds it up in time: also when it is stopped, or when no thread of it gets to run.

Linux only. The timer counts while the machine sleeps, and its signal is SIGKILL, which reaches a stopped process too.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Any

_CLOCK_BOOTTIME = 7
_SIGEV_SIGNAL = 0


class _Event(ctypes.Structure):
    _fields_ = (("value", ctypes.c_void_p), ("signal", ctypes.c_int), ("notify", ctypes.c_int), ("rest", ctypes.c_char * 48))


class _Time(ctypes.Structure):
    _fields_ = (("interval", ctypes.c_long * 2), ("value", ctypes.c_long * 2))


class Deadman:
    """One timer of this process. It does nothing on systems that have no such timer."""

    def __init__(self) -> None:
        self._libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
        self._timer = ctypes.c_void_p()
        event = _Event(None, signal.SIGKILL, _SIGEV_SIGNAL, b"")
        if self._libc and self._libc.timer_create(_CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._timer)) != 0:
            self._libc = None

    def wind_up(self, seconds: float) -> None:
        """Let this process live so many seconds more, and no longer unless this is called again."""
        self._set(max(seconds, 0.001))

    def stop(self) -> None:
        """Let it live."""
        self._set(0.0)

    def _set(self, seconds: float) -> None:
        if self._libc:
            value = (int(seconds), int(seconds % 1 * 1e9))
            self._libc.timer_settime(self._timer, 0, ctypes.byref(_Time((0, 0), value)), None)
