"""The names that prefect.yaml points at: one flow per runbook, by its name with underscores."""

from stopgap.engine.flows import __dir__, __getattr__

__all__ = ["__dir__", "__getattr__"]
