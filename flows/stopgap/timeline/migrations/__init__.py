"""The timeline's migrations, run by `stopgap.timeline.migrate`."""
