"""Alerts and what they start; arrives with the alert intake."""
