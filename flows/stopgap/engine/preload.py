"""What every child of the worker has loaded before it is forked. Only the fork server imports this; doing so ties it to its worker.

Nothing here may start a thread or open a connection: they do not survive a fork.
"""

from __future__ import annotations

import contextlib

import prefect.client.orchestration
import prefect.flow_engine
import prefect.states  # noqa: F401

from stopgap.actions import transports
from stopgap.engine import lifeline

lifeline.hold(None)
transports.trust()
with contextlib.suppress(ImportError):  # the extra is not installed: no runbook uses it
    import kubernetes.client  # noqa: F401
with contextlib.suppress(ImportError):
    import stopgap_flows  # noqa: F401
