"""What every child of the worker has loaded before it is forked. Only the fork server imports this; doing so ties it to its worker.

Nothing here may start a thread or open a connection: they do not survive a fork.
"""

from __future__ import annotations

import contextlib
import importlib

import prefect.client.orchestration
import prefect.flow_engine
import prefect.states  # noqa: F401

from stopgap.actions import transports
from stopgap.engine import lifeline

# Needed by every run, or by most, and loaded by nobody above. What is not installed is missed by the runs that need it.
LOADED = (
    "jsonschema_rs",
    "kubernetes.client",
    "prefect._internal.observers",
    "prefect.task_engine",
    "prefect.utilities.visualization",
    "pydantic.v1",
    "stopgap_flows",
)

lifeline.hold(None)
transports.trust()
for name in LOADED:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
