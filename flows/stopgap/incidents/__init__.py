"""Incidents, folded from the timeline."""
