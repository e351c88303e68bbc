"""Scenarios, the sandbox world, and the score."""
