"""People, roles, clusters and limits: who may decide, where a runbook may act, and how far."""
