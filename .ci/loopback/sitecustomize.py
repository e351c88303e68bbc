"""Python imports this at its start where `.ci/alone` put it on the path: the process, and every Python it starts, reaches loopback alone.

Programs that are not Python are not held: the embedded PostgreSQL listens on a socket file, and the browser of the tests is told so by
its own options.
"""

import contextlib

with contextlib.suppress(ImportError):  # a Python without stopgap in it, as a virtual environment is at first
    from stopgap.actions import guard

    guard.only_loopback()
