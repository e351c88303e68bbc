"""Incident runbooks in YAML that become Prefect flows."""

__version__ = "0.1.0"
