"""The HTTP service; arrives with the alert intake."""
