"""What /metrics shows: what came in, what became of it, how long answering took, and how much waits to be acted on."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The counters of one receiver. Only names that policy knows become labels: a stranger cannot make up new ones."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.deliveries = Counter(
            "stopgap_deliveries", "Deliveries by source and what they were answered.", ("source", "answer"), registry=self.registry
        )
        self.alerts = Counter("stopgap_alerts", "Alerts accepted, by source and status.", ("source", "status"), registry=self.registry)
        self.answering = Histogram(
            "stopgap_answer_seconds", "From a delivery's first byte to its answer.", buckets=_QUICK, registry=self.registry
        )
        self.waiting = Gauge("stopgap_deliveries_waiting", "Accepted deliveries of this receiver not yet acted on.", registry=self.registry)
        self.trouble = Gauge("stopgap_intake_trouble", "1 while accepted alerts cannot be acted on.", registry=self.registry)
