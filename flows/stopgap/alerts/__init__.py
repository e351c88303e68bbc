"""Alerts: one module a source turns what it posts into `Alert`; what an alert means is decided from there on."""
