"""The append-only log that is the only truth about incidents."""
