"""Whether this process was told to end: its run leaves it between two steps, with every entry written, and begins again elsewhere."""

from __future__ import annotations

import threading

asked = threading.Event()
