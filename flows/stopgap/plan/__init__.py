"""Runbook + parameters + live state -> Plan, and how to explain it."""
