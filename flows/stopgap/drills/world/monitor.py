"""What watches the sandbox's shop: when it is slow an alert is posted as Alertmanager posts it, and when it is well again the end of it.

An alert is posted until it is taken, as Alertmanager does. Prometheus and Alertmanager themselves are too large for a demo; tests/alerts runs them.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from stopgap.clock import SystemClock, format_time

if TYPE_CHECKING:
    from datetime import datetime

    from stopgap.clock import Clock

LOG = logging.getLogger("stopgap.world")
NEVER = "0001-01-01T00:00:00Z"  # Go's zero time: not yet
LABELS = {"alertname": "CheckoutLatencyHigh", "severity": "critical", "namespace": "shop", "service": "checkout"}


@dataclass(slots=True)
class Monitor:
    """Asks the shop again and again. It fires after `patience` slow answers in a row, and is over after as many quick ones."""

    shop: str
    receiver: str = field(repr=False)
    token: str = field(repr=False)
    slow: float = 0.5  # seconds
    patience: int = 2
    pause: float = 0.2  # seconds between two questions, and before an alert that was not taken is posted again
    clock: Clock = field(default_factory=SystemClock)

    def watch(self) -> None:
        """Watch for ever: call it in a thread that may be left."""
        with httpx.Client(trust_env=False, timeout=30) as client:
            while True:
                self._until(client, is_slow=True)
                started = self.clock.now()
                self._post(client, started)
                self._until(client, is_slow=False)
                self._post(client, started, ended=self.clock.now())

    def _until(self, client: httpx.Client, *, is_slow: bool) -> None:
        in_a_row = 0
        while in_a_row < self.patience:
            in_a_row = in_a_row + 1 if self._is_slow(client) is is_slow else 0
            time.sleep(self.pause)

    def _is_slow(self, client: httpx.Client) -> bool:
        began = time.monotonic()
        try:
            answer = client.get(self.shop)
        except httpx.HTTPError:
            return True
        return not answer.is_success or time.monotonic() - began > self.slow

    def _post(self, client: httpx.Client, started: datetime, ended: datetime | None = None) -> None:
        body = self._body(started, ended)
        while True:
            try:
                answer = client.post(self.receiver, json=body, headers={"Authorization": f"Bearer {self.token}"})
            except httpx.HTTPError as error:
                LOG.warning("the alert was not taken: %s", error)
            else:
                if answer.is_success:
                    return
                LOG.warning("the alert was not taken: %d %s", answer.status_code, answer.text)
            time.sleep(self.pause)

    def _body(self, started: datetime, ended: datetime | None) -> dict[str, Any]:
        status = "resolved" if ended else "firing"
        summary = {"summary": f"The checkout takes longer than {self.slow:g} s"}
        alert = {
            "status": status, "labels": LABELS, "annotations": summary, "startsAt": format_time(started),
            "endsAt": format_time(ended) if ended else NEVER, "generatorURL": self.shop, "fingerprint": "5a1db0c5a1db0c00",
        }  # fmt: skip
        group = {"groupLabels": {}, "commonLabels": LABELS, "commonAnnotations": summary}
        known = {"version": "4", "groupKey": "{}", "truncatedAlerts": 0, "receiver": "stopgap", "externalURL": self.shop}
        return {**known, **group, "status": status, "alerts": [alert]}
