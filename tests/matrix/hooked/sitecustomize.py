"""Python imports this at its start where the kill matrix put it on the path: the process then says each point it comes to (`matrix.points`)."""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

_HERE = str(Path(__file__).parent)


def _next() -> None:
    """Run the sitecustomize that this one stands before: it keeps the suite on loopback."""
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", [path for path in sys.path if path != _HERE])
    if spec and spec.loader:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


_next()
if os.environ.get("STOPGAP_MATRIX"):
    from matrix import points

    points.install(os.environ["STOPGAP_MATRIX"])
