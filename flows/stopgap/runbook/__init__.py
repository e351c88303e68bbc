"""From a YAML document to a `Runbook`."""
